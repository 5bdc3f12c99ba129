//! What `--help` and `--version` print.

/// The answer to `--version`.
pub(super) const VERSION: &str = concat!("hivebt-create ", env!("CARGO_PKG_VERSION"), "\n");

/// `hivebt-create --help`
pub(super) const CREATE: &str = "\
Makes a .torrent for each file or folder.

Usage:
  hivebt-create [OPTIONS] PATH...
  hivebt-create show [--json] FILE.torrent...
  hivebt-create verify [--json] FILE.torrent DATA
  hivebt-create magnet FILE.torrent...
  hivebt-create edit [OPTIONS] FILE.torrent
A path named like a subcommand is written ./show. Each has a --help of its own.

What the torrent says:
  -a, --announce URL[,URL...]  trackers (http, https, udp); each use is a tier
                               [default: that of the configuration, else http://localhost:8080/announce]
      --no-announce            no tracker
  -w, --web-seed URL           a server that has the payload; may be repeated
  -l, --piece-length N[K|M]    a power of two from 16K to 128M
                               [default: that of the configuration, else by size: 1,000 to 2,000 pieces]
  -n, --name NAME              the payload's name [default: that of PATH]
  -p, --private                peers from the trackers only (BEP 27)
  -s, --source TEXT            a mark that makes the info-hash differ
  -c, --comment TEXT
      --created-by TEXT        [default: hivebt/VERSION]
      --no-created-by
      --date SECONDS           since 1970 [default: SOURCE_DATE_EPOCH, else now]
      --no-date

What goes in, where it goes:
      --include GLOB           of a folder only what GLOB matches; may be repeated
      --exclude GLOB           of a folder not what GLOB matches; may be repeated; wins over --include
                               A GLOB without / is matched against names, with / against paths from
                               the folder on (** is any number of folders); a folder stands for what is in it.
      --follow-symlinks        symbolic links count as what they lead to [default: skipped with a note]
  -o, --output FILE|DIR|-      [default: PATH.torrent]; - is standard output
  -f, --force                  replace a .torrent that is there already
      --dry-run                do everything but write

How:
  -t, --threads N              threads that hash [default: one for each core]
      --json                   a line of JSON for each torrent instead of its path
  -q, --quiet                  no progress, no notes
      --config FILE            [default: bt_config.json in the working directory, if it is there]
  -h, --help
  -V, --version
";

/// `hivebt-create show --help`
pub(super) const SHOW: &str = "\
Shows what torrents say.

Usage: hivebt-create show [--json] FILE.torrent...
A FILE of - is standard input.

      --json     a line of JSON for each
  -h, --help
  -V, --version
";

/// `hivebt-create verify --help`
pub(super) const VERIFY: &str = "\
Checks data against a torrent. Exit code 0 if every piece is good and no file is missing or too long, else 4.

Usage: hivebt-create verify [OPTIONS] FILE.torrent DATA
DATA is the file or folder itself, or the folder that it lies in.

  -t, --threads N   threads that hash [default: one for each core]
      --json        the result as a line of JSON
  -q, --quiet       no progress, no notes
  -h, --help
  -V, --version
";

/// `hivebt-create magnet --help`
pub(super) const MAGNET: &str = "\
Prints the magnet link of each torrent.

Usage: hivebt-create magnet FILE.torrent...
A FILE of - is standard input.

  -h, --help
  -V, --version
";

/// `hivebt-create edit --help`
pub(super) const EDIT: &str = "\
Changes a torrent, in place unless told otherwise. What is not named stays as it is.

Usage: hivebt-create edit [OPTIONS] FILE.torrent

These leave the info-hash alone:
  -a, --announce URL[,URL...]  the trackers instead of those there are; each use is a tier
      --no-announce            no tracker
  -w, --web-seed URL           the web seeds instead of those there are; may be repeated
      --no-web-seed
  -c, --comment TEXT
      --no-comment
These change the info-hash, which is said:
  -s, --source TEXT
      --no-source
  -p, --private
      --no-private

  -o, --output FILE|-          write there instead; - is standard output
  -f, --force                  replace the FILE of --output if it is there already
      --dry-run                do everything but write
      --json                   a line of JSON instead of the path
  -q, --quiet                  no notes
  -h, --help
  -V, --version
";
