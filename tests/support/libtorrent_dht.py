"""Peers made of libtorrent that know no tracker: python3 libtorrent_dht.py TORRENT FOLDER NODE FIRST COUNT

COUNT sessions on 127.0.1.FIRST and so on, whose DHT begins at NODE, host:port. Prints the address of each node, and `complete` once every one has the payload;
then they seed until they are stopped."""
import os
import sys
import libtorrent

torrent, folder, node, first, count = sys.argv[1:6]
host, port = node.rsplit(":", 1)
sessions = []
for n in range(int(first), int(first) + int(count)):
    address = "127.0.1.%d" % n
    session = libtorrent.session({
        "enable_dht": True, "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False,
        # On one host, all addresses look alike.
        "dht_restrict_routing_ips": False, "dht_restrict_search_ips": False, "dht_ignore_dark_internet": False,
        "dht_bootstrap_nodes": node, "allow_multiple_connections_per_ip": True,
        "listen_interfaces": address + ":0", "outgoing_interfaces": address,
        "enable_outgoing_utp": False, "enable_incoming_utp": False,
        "alert_mask": 0,
    })
    session.add_dht_node((host, int(port)))
    params = libtorrent.add_torrent_params()
    params.ti = libtorrent.torrent_info(torrent)
    params.save_path = os.path.join(folder, str(n))
    os.makedirs(params.save_path)
    params.flags |= libtorrent.torrent_flags.disable_pex
    print("node %s:%d" % (address, session.listen_port()), flush=True)
    sessions.append((session, session.add_torrent(params)))
told = False
while True:
    sessions[0][0].wait_for_alert(200)
    for session, _ in sessions:
        session.pop_alerts()
    done = sum(handle.status().is_seeding for _, handle in sessions)
    if not told and done == len(sessions):
        told = True
        for _, handle in sessions:
            handle.flush_cache()
        print("complete", flush=True)
