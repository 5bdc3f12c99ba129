//! A real browser without a screen.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::page::LIMIT;
use crate::support::process::{Ended, run};
use crate::support::tempdir::TempDir;

pub(crate) struct Browser<'a> {
    dir: &'a TempDir,
    sessions: std::cell::Cell<u32>,
}

impl<'a> Browser<'a> {
    /// One that keeps its profiles in `dir`.
    pub(crate) fn new(dir: &'a TempDir) -> Self {
        Self {
            dir,
            sessions: Default::default(),
        }
    }

    /// What Chromium does with `url`; its own traffic is switched off.
    fn run(&self, options: &[&str], url: &str) -> Ended {
        let n = self.sessions.replace(self.sessions.get() + 1);
        let mut command = Command::new("chromium");
        command
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
            ])
            .args([
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ])
            .args([
                "--disable-dev-shm-usage",
                "--hide-scrollbars",
                "--enable-logging=stderr",
            ])
            .args(["--virtual-time-budget=9000"])
            .arg(format!(
                "--user-data-dir={}",
                self.dir.join(format!("profile {n}")).display()
            ))
            .args(options)
            .arg(url);
        let ended = run("chromium", command, LIMIT);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        for word in ["Refused to", "Content Security Policy", "Uncaught"] {
            assert!(!ended.stderr.contains(word), "{}", ended.stderr);
        }
        ended
    }

    /// The page after its scripts have run for a while.
    pub(crate) fn dom(&self, options: &[&str], url: &str) -> String {
        self.run(&[&["--dump-dom"], options].concat(), url).stdout
    }

    fn picture(&self, name: &str, options: &[&str], url: &str) -> PathBuf {
        let folder = std::env::var_os("HIVEBT_SCREENSHOTS");
        let folder = folder.map_or_else(|| self.dir.path().to_owned(), PathBuf::from);
        let file = folder.join(format!("{name}.png"));
        let shot = format!("--screenshot={}", file.display());
        self.run(&[&[shot.as_str()], options].concat(), url);
        file
    }

    /// Takes pictures of a page on narrow and wide screens, light and dark; they go to `HIVEBT_SCREENSHOTS` if that names a folder.
    pub(crate) fn pictures(&self, of: &str, url: &str) {
        for (name, width) in [("phone", 390), ("desktop", 1280)] {
            for (scheme, setting) in [("light", 1), ("dark", 0)] {
                let size = format!("--window-size={width},1400");
                let scheme_of = format!("--blink-settings=preferredColorScheme={setting}");
                let name = format!("{of}-{name}-{scheme}");
                let file = self.picture(&name, &[&size, &scheme_of], url);
                assert!(fs::read(&file).unwrap().starts_with(b"\x89PNG"), "{name}");
            }
        }
    }

    /// Checks that nothing of the page at `/`, which `text` fetches, sticks out at the side.
    pub(crate) fn assert_fits(&self, text: impl Fn(&str) -> String) {
        let style = format!("<style>{}</style>", text("/page.css"));
        let page = text("/").replace("<link rel=\"stylesheet\" href=\"page.css\">", &style);
        for width in [320, 390, 1280] {
            assert_eq!(self.scroll_width(&page, width), width);
        }
    }

    /// How wide a page is in a frame of `width` pixels. A browser without a screen may have no narrow windows, but it has frames.
    fn scroll_width(&self, page: &str, width: u32) -> u32 {
        let tell = "<script>addEventListener('load', () => parent.postMessage(document.documentElement.scrollWidth, '*'))</script>";
        let inner = page.replace("<script src=\"page.js\" defer></script>", tell);
        let write = |name: &str, content: &str| {
            let file = self.dir.join(name);
            fs::write(&file, content).unwrap();
            format!("file://{}", file.display())
        };
        write("inner.html", &inner);
        let outer = format!(
            "<title>?</title><script>addEventListener('message', (e) => document.title = e.data)</script><iframe src=\"inner.html\" width=\"{width}\" height=\"900\" style=\"border:0\"></iframe>"
        );
        let dom = self.dom(&[], &write("outer.html", &outer));
        let title = dom
            .split("<title>")
            .nth(1)
            .and_then(|rest| rest.split('<').next());
        title
            .and_then(|title| title.parse().ok())
            .unwrap_or_else(|| panic!("{dom}"))
    }
}
