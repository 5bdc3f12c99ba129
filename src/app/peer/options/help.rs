//! What `hivebt-peer --help` prints.

/// What `hivebt-peer --help` prints.
pub const HELP: &str = "\
Downloads and seeds torrents.

Usage:
  hivebt-peer get SOURCE... [-o DIR]      download; SOURCE: file.torrent, http:// URL of one, magnet link, or - (standard input)
  hivebt-peer seed TORRENT... [-d DATA]   seed; DATA: the payload or the folder it lies in (default: beside the torrent)
  hivebt-peer FILE.torrent                seed if the data beside it is complete, else download it and then seed
  hivebt-peer run [--watch DIR]           long-lived: torrents come and go with the files in DIR, or over HTTP
  hivebt-peer status [URL]                what a running one is doing (default http://127.0.0.1:6880)
  hivebt-peer share PATH...               create, track and seed in one process; prints the command a worker runs
  hivebt-peer wait TORRENT --complete N   until the torrent's tracker has counted N completed downloads; takes no part
  hivebt-peer doctor [TORRENT|URL]        checks settings, tracker, port, address, clock, space, limits; says what to change

Where:
  -o, --output DIR         folder for downloads (default: the working directory; bare form: beside the torrent)
  -d, --data PATH          payload to seed, or the folder it lies in
Network:
  -p, --port N|A-B         port to listen on, the first free of a range; 0 picks any (default 6881-6891)
      --bind ADDR|IFACE    tie all traffic to a local address or an interface
      --advertise IP[:PORT]  address to tell the tracker, where it cannot see the right one itself
      --port-mapping       ask the default gateway (a home router) to let peers in, by PCP, NAT-PMP or UPnP
      --no-port-mapping    do not, whatever the configuration says
      --peer ADDR:PORT     a peer to connect to, besides those that the tracker names (repeatable)
      --web-seed URL       an HTTP server that has the payload, besides those that the torrent names (repeatable)
      --no-web-seeds       leave those that the torrent names alone
      --encryption MODE    plain (default): only where the other side insists; preferred: where it can; or required
      --no-pex             do not tell peers of each other, nor dial those that they tell of (never done for private torrents)
      --lsd                find peers on the local network by multicast, and be found (never done for private torrents)
      --dht                find peers in the DHT, too, beginning at the torrents' nodes and at peers that have one (default:
                           off; never for private torrents)
      --dht-node HOST:PORT likewise, beginning at this node (repeatable)
      --dht-read-only      likewise, but answer nobody there: for hosts that others cannot reach
      --utp                connect over uTP, too, which makes way for other traffic: to peers that answer it, and on the same port
                           number in UDP (default: TCP alone)
      --utp-only           likewise, and neither dial nor listen over TCP
      --tracker ADDR:PORT  share: where the tracker listens (default [::]:8080, any free port if that is taken)
      --min-size SIZE      share: what is smaller is not shared; if all is, exit 8: ordinary transfer will do
Limits:
      --max-upload RATE    bytes a second for all torrents together, with K, M or G; 0 = none (default)
      --max-download RATE  likewise
      --priority P         share of these limits beside other torrents: low, normal (default) or high, as 1 : 4 : 16
      --max-peers N        connections for each torrent (default 200)
      --max-uploads N      peers served at once (default: follows what the link can carry)
      --cache SIZE         memory for unfinished pieces (default 24M)
When to stop:
      --seed               get: go on seeding after the download
      --seed-for TIME      seed for this long (s, m, h, d), then stop
      --seed-ratio R       seed until R times the payload has been sent, then stop
      --until-peers N      seed until N other peers are complete, then stop; with --timeout, not for longer (exit 5)
      --complete N         wait: so many downloads, as the tracker counts them
      --timeout TIME       give up (exit 5) if a download, or what is waited for, is not finished in this time
      --stall-timeout TIME give up (exit 5) if a download gets no data for this time
How:
      --select GLOB        fetch these files alone (repeatable); the pattern is matched below the torrent's top folder, as
                           hivebt-create includes files: `*.csv` by name anywhere, `set/a*` from the top on, `set/` a whole folder
      --super-seed         seed, share, run: as an only seed, show a peer the next piece when others have the last one (README)
      --save-torrent PATH  of a magnet link: write the .torrent to this file, or into this folder, once it is known
      --sequential         fetch pieces in order
      --reuse DIR          take from the files of older versions in DIR what they already hold, before anybody is asked
                           (repeatable; get and run; a single file will do)
      --recheck            hash what is there even if its state is known
      --on-complete CMD    run this when a download is complete (split at spaces, no shell; HIVEBT_PATH, HIVEBT_INFO_HASH
                           and HIVEBT_NAME in its environment); waits for it
      --config FILE        settings (default: bt_config.json in the working directory, if there is one)
Watching and steering (README, section hivebt-peer run):
      --watch DIR          run: the .torrent files in DIR run (default: those that were added over HTTP, in .hivebt/torrents)
      --keep-for TIME      run: remove what it has downloaded, data and all, when that has been complete for longer (s, m, h, d)
      --keep-size SIZE     run: the same, the oldest first, when all that it has downloaded is more (K, M, G)
      --keep-strictly      run: also what others are fetching at that moment
      --status ADDR:PORT   serve page, statistics, metrics and API there (default for run: 127.0.0.1:6880)
      --token TEXT         who asks has to know this (or HIVEBT_TOKEN in the environment); needed off loopback
Output:
      --json               events on standard output, a line of JSON each
  -q, --quiet              only errors; nothing where another run is at it (exit 75)
  -v, --verbose            also what peers and trackers do
  -h, --help  -V, --version

In the environment, HIVEBT_CONFIG, HIVEBT_OUTPUT, HIVEBT_PORT, HIVEBT_BIND, HIVEBT_ADVERTISE, HIVEBT_MAX_UPLOAD,
HIVEBT_MAX_DOWNLOAD, HIVEBT_MAX_PEERS and HIVEBT_CACHE stand for the options of these names. Options win over the environment,
which wins over the configuration. Proxies that the environment names (http_proxy) are not used.

Exit codes: 0 done, 1 other failure, 2 usage, 3 invalid torrent, 4 data missing or wrong, 5 deadline, 6 storage, 7 network,
8 nothing is as large as --min-size, 75 another run has this torrent in this folder, 130/143 interrupted (the same command continues).
";
