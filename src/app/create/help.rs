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
      --node HOST:PORT         a DHT node to begin at (BEP 5); may be repeated
  -l, --piece-length N[K|M]    a power of two from 16K to 128M [default: that of the configuration, else by size,
                               for 1,000 to 2,000 pieces: 64K up to 125 MiB, 128K up to 250 MiB, 256K up to
                               500 MiB, 512K up to 1000 MiB, 1M up to 2000 MiB, 2M up to 4000 MiB, 4M up to
                               8000 MiB, 8M up to 16000 MiB, 16M beyond]
      --align                  of a folder, files that are at least as long as a piece begin with one (BEP 47), so that
                               a later version of the folder shares whole pieces with this one
  -n, --name NAME              the payload's name [default: that of PATH]
  -p, --private                peers from the trackers only (BEP 27); needs a tracker, excludes --node
  -s, --source TEXT            a mark that makes the info-hash differ
  -c, --comment TEXT
      --created-by TEXT        [default: hivebt/VERSION]
      --no-created-by
      --date SECONDS           since 1970 [default: SOURCE_DATE_EPOCH, else now]
      --no-date

What goes in, where it goes:
      --include GLOB           of a folder only what GLOB matches; may be repeated
      --exclude GLOB           of a folder not what GLOB matches; may be repeated
                               A GLOB without / is matched against names, with / against paths from
                               the folder on (** is any number of folders); a folder stands for what is in it.
      --skip-hidden            of a folder no names that begin with a dot
      --skip-junk              of a folder nothing that systems, editors and unfinished downloads leave there:
                               .DS_Store ._* __MACOSX .AppleDouble .fseventsd .Spotlight-V100 .TemporaryItems .Trashes
                               Thumbs.db ehthumbs.db desktop.ini $RECYCLE.BIN 'System Volume Information'
                               .directory .nfs* .Trash-* lost+found *~ .*.swp .*.swo .#* #*#
                               .hivebt .hivebt-*.tmp *.part *.aria2 *.crdownload *.!qB
      --follow-symlinks        symbolic links count as what they lead to [default: skipped]
  Whatever their order, --exclude, --skip-hidden and --skip-junk win over --include. A PATH that is a file always goes in.
  What is skipped is told on stderr, one line for each reason; -v and --dry-run name each.
  -o, --output FILE|DIR|-      [default: PATH.torrent]; - is standard output
  -f, --force                  replace a .torrent that is there already
      --dry-run                do everything but write

How:
  -t, --threads N              threads that hash [default: one for each core]
      --json                   a line of JSON for each torrent instead of its path
  -q, --quiet                  no progress, no notes
  -v, --verbose                name everything that is skipped
      --config FILE            [default: bt_config.json in the working directory, if it is there]
  -h, --help
  -V, --version

In the environment, HIVEBT_ANNOUNCE=URL[,URL...] stands for --announce and HIVEBT_CONFIG=FILE for --config; options win
over the environment, which wins over the configuration.
HIVEBT_SHA1=avx512, avx2, sha or portable in the environment names the way to hash, for tests; else the processor's best.
Several PATHs are done one by one. If some fail, the others are made all the same, and the exit code is that of the
first that failed.
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
Checks data against a torrent. Exit code 0 if every piece is good and no file is missing or too long; 6 if a file
cannot be read; else 4. Says which files are not as they should be, and how many pieces each lacks.

Usage: hivebt-create verify [OPTIONS] FILE.torrent DATA
DATA is the file or folder itself, or the folder that it lies in. A name that is not there is also looked for in its
composed and decomposed Unicode forms (NFC, NFD).

  -t, --threads N   threads that hash [default: one for each core]
      --json        the result as a line of JSON
  -q, --quiet       no progress, no notes
  -v, --verbose     name every file, not only the first 20 of a kind
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
      --node HOST:PORT         the DHT nodes instead of those there are; may be repeated
      --no-node
  -c, --comment TEXT
      --no-comment
      --created-by TEXT
      --no-created-by
      --date SECONDS
      --no-date
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::junk::JUNK;

    #[test]
    fn the_help_lists_all_that_is_junk() {
        for junk in JUNK {
            let shown = [
                format!(" {junk} "),
                format!(" {junk}\n"),
                format!(" '{junk}'"),
            ];
            assert!(shown.iter().any(|text| CREATE.contains(text)), "{junk}");
        }
    }
}
