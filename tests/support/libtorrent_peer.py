"""A peer made of libtorrent: python3 libtorrent_peer.py get|stay|seed|superseed TORRENT FOLDER [ADDRESS] [--encrypt=rc4|plaintext|both]

TORRENT may be a magnet link. LIBTORRENT_PEER in the environment may hold words: pex, lsd, peer=ADDR:PORT, down=BYTES a second, utp for uTP only.

With an ADDRESS it shares a machine with other peers, or has no other, and uses TCP only: over loopback its uTP carries a tenth of that.
With --encrypt it takes no connection without an encrypted handshake, and for the rest of it what is named.
Prints `seeding` or `complete` once the payload is whole and in its files, and then seeds until it is stopped, so `stay` is what `get` is."""
import os
import sys
import libtorrent

encrypt = [word.split("=")[1] for word in sys.argv if word.startswith("--encrypt=")]
words = [word for word in sys.argv[1:] if not word.startswith("--encrypt=")]
verb, torrent, folder = words[:3]
extra = dict(word.partition("=")[::2] for word in os.environ.get("LIBTORRENT_PEER", "").split())
settings = {
    "enable_dht": False, "enable_lsd": "lsd" in extra, "enable_upnp": False, "enable_natpmp": False,
    "alert_mask": libtorrent.alert.category_t.error_notification
    | libtorrent.alert.category_t.status_notification
    | libtorrent.alert.category_t.tracker_notification
    | libtorrent.alert.category_t.connect_notification,
}
if len(words) > 3:
    settings["listen_interfaces"] = ("[%s]:0" if ":" in words[3] else "%s:0") % words[3]
    settings["outgoing_interfaces"] = words[3]
    settings["enable_outgoing_utp"] = settings["enable_incoming_utp"] = False
else:
    settings["listen_interfaces"] = "0.0.0.0:6881"
if "utp" in extra:
    settings["enable_outgoing_utp"] = settings["enable_incoming_utp"] = True
    settings["enable_outgoing_tcp"] = settings["enable_incoming_tcp"] = False
if encrypt:
    settings["in_enc_policy"] = settings["out_enc_policy"] = int(libtorrent.enc_policy.forced)
    settings["allowed_enc_level"] = int(getattr(libtorrent.enc_level, encrypt[0]))
    settings["prefer_rc4"] = encrypt[0] == "rc4"
session = libtorrent.session(settings)
if torrent.startswith("magnet:"):
    params = libtorrent.parse_magnet_uri(torrent)
else:
    params = libtorrent.add_torrent_params()
    params.ti = libtorrent.torrent_info(torrent)
params.save_path = folder
if "pex" not in extra:
    params.flags |= libtorrent.torrent_flags.disable_pex
if verb == "superseed":
    params.flags |= libtorrent.torrent_flags.super_seeding
leeches = verb in ("get", "stay")
handle = session.add_torrent(params)
if "down" in extra:
    handle.set_download_limit(int(extra["down"]))
if "peer" in extra:
    address, _, port = extra["peer"].rpartition(":")
    handle.connect_peer((address, int(port)))
told = False
while True:
    session.wait_for_alert(200)
    for alert in session.pop_alerts():
        print(type(alert).__name__, alert.message(), flush=True)
        # Until then, part of the payload may be in memory alone.
        if told and leeches and isinstance(alert, libtorrent.cache_flushed_alert):
            print("complete", flush=True)
    if not told and handle.status().is_seeding:
        told = True
        if leeches:
            handle.flush_cache()
        else:
            print("seeding", flush=True)
