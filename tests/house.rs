//! The rules of the house that no compiler lint knows: which floor may use which, where packages, `unsafe` and printing are allowed, what lies at the top level,
//! and that the table of requirements is whole and true.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What each floor may import, itself included. `bin` may use all that `app` offers and nothing below it.
const FLOORS: [(&str, &[&str]); 7] = [
    ("base", &["base"]),
    ("proto", &["proto", "base"]),
    ("core", &["core", "proto", "base"]),
    ("disk", &["disk", "proto", "base"]),
    ("net", &["net", "proto", "base"]),
    ("app", &["app", "core", "disk", "net", "proto", "base"]),
    ("bin", &["app"]),
];

/// The one place (a file or a folder below `src`) that names each package; where two floors need it that may not know each other, one on each, and
/// for system calls one for each kind of them.
/// `fastrand::Rng` is a word that callers hand down, as time is; it may stand anywhere.
const PACKAGES: [(&str, &str); 14] = [
    ("fastrand", ""),
    ("lexopt", "app/"),
    ("rustix", "disk/sys.rs"),
    ("rustix", "net/datagrams.rs"),
    ("rustix", "net/gate/"),
    ("rustix", "net/random.rs"),
    ("rustix", "net/sockets/udp.rs"),
    ("serde_json", "base/json.rs"),
    ("sha1_smol", "base/sha1/"),
    ("signal_hook", "app/signals.rs"),
    ("socket2", "net/sockets/"),
    ("tiny_http", "net/http_server.rs"),
    ("unicode_normalization", "app/create/spelling.rs"),
    ("ureq", "net/http_client/"),
];

/// The files that may contain `unsafe`.
const UNSAFE: [&str; 7] = [
    "app/heap.rs",
    "base/sha1/arm_sha.rs",
    "base/sha1/avx2.rs",
    "base/sha1/avx512.rs",
    "base/sha1/lanes.rs",
    "base/sha1/stream.rs",
    "base/sha1/x86_sha.rs",
];

/// What the core must not know.
const NOT_IN_CORE: [&str; 16] = [
    "std::fs",
    "std::io",
    "std::env",
    "std::process",
    "std::thread",
    "std::os",
    "Instant",
    "SystemTime",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "Mutex",
    "RwLock",
    "Condvar",
    "mpsc",
    "Rng::new()",
];

/// What may lie at the top level; `target`, `dist` and `.git` are not part of the project, `.cargo` and `vendor` are what `make vendor` adds in its archive.
const TOP_LEVEL: [&str; 16] = [
    ".cargo",
    ".ci",
    ".git",
    ".gitignore",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "Makefile",
    "README.md",
    "dist",
    "src",
    "target",
    "testdata",
    "tests",
    "vendor",
];

/// The last number of a requirement.
const LAST_REQUIREMENT: u32 = 118;

/// Numbers of requirements that are not used.
const NOT_REQUIRED: [u32; 12] = [11, 16, 20, 63, 93, 94, 95, 96, 98, 107, 108, 112];

/// A source file: its path below `src`, and its lines of code without comments; `code` ends where the tests begin.
struct Source {
    path: String,
    lines: Vec<String>,
    code: usize,
}

impl Source {
    fn floor(&self) -> &str {
        self.path.split('/').next().unwrap_or_default()
    }

    fn code(&self) -> &[String] {
        &self.lines[..self.code]
    }
}

fn root() -> PathBuf {
    env!("CARGO_MANIFEST_DIR").into()
}

fn sources() -> Vec<Source> {
    let src = root().join("src");
    let mut found = Vec::new();
    collect(&src, &src, &mut found);
    assert!(found.len() > 10, "the sources are where they were");
    found
}

fn collect(src: &Path, folder: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(src, &path, found);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let uncommented = |line: &str| {
                let comment = line.trim_start().starts_with("//");
                if comment {
                    String::new()
                } else {
                    line.to_owned()
                }
            };
            let lines: Vec<String> = text.lines().map(uncommented).collect();
            let tests = |line: &String| line.trim_start().starts_with("#[cfg(test)]");
            let code = lines.iter().position(tests).unwrap_or(lines.len());
            let path = path.strip_prefix(src).unwrap().display().to_string();
            found.push(Source { path, lines, code });
        }
    }
}

/// Fails with every offence, not only the first.
fn assert_none(rule: &str, offences: &[String]) {
    assert!(offences.is_empty(), "{rule}:\n{}", offences.join("\n"));
}

/// Whether `word` stands in `line` as a word of its own.
fn names(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

/// The floors that a source imports: what follows `crate::` (or `hivebt::` in a program), also inside braces.
fn imports(source: &Source) -> BTreeSet<String> {
    let text = source.lines.join("\n");
    let mut floors = BTreeSet::new();
    for start in ["crate::", "hivebt::"] {
        for (at, _) in text.match_indices(start) {
            let rest = &text[at + start.len()..];
            let list = match rest.strip_prefix('{') {
                Some(list) => top_level_items(list),
                None => vec![rest],
            };
            for item in list {
                let end = item.find(|c: char| !c.is_alphanumeric() && c != '_');
                floors.insert(item[..end.unwrap_or(item.len())].to_owned());
            }
        }
    }
    floors
}

/// The items of a `use` list that starts after its opening brace.
fn top_level_items(list: &str) -> Vec<&str> {
    let (mut items, mut depth, mut from) = (Vec::new(), 0, 0);
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                items.push(list[from..at].trim());
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(list[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    items
}

#[test]
fn each_floor_uses_only_those_below_it() {
    let mut offences = Vec::new();
    for source in sources() {
        let Some((_, allowed)) = FLOORS.iter().find(|(floor, _)| *floor == source.floor()) else {
            assert_eq!(
                source.path, "lib.rs",
                "only the front page lies on no floor"
            );
            continue;
        };
        for import in imports(&source) {
            let other = FLOORS.iter().any(|(floor, _)| *floor == import);
            if other && !allowed.contains(&import.as_str()) {
                offences.push(format!("{} uses {import}", source.path));
            }
        }
    }
    assert_none("bin → app → {core, disk, net} → proto → base", &offences);
}

#[test]
fn no_module_climbs_out_of_its_floor() {
    let mut offences = Vec::new();
    for source in sources() {
        // `a/b.rs` is two modules deep, so is `a/b/mod.rs`; each module inside the file adds one.
        let folders = source.path.matches('/').count();
        let depth = folders + usize::from(!source.path.ends_with("mod.rs"));
        for (i, line) in source.lines.iter().enumerate() {
            let climbs = line.matches("super::").count();
            let inner = usize::from(i >= source.code);
            if source.floor() != "bin" && climbs >= depth + inner && climbs > 0 {
                offences.push(format!("{}:{}: {line}", source.path, i + 1));
            }
        }
    }
    assert_none("`super::` stays inside the floor", &offences);
}

#[test]
fn each_package_is_named_in_one_place() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let of_section = manifest.split("\n[dependencies]\n").nth(1).unwrap();
    let listed = of_section
        .lines()
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once(" = ").or_else(|| line.split_once('.')))
        .map(|(name, _)| name.trim().replace('-', "_"));
    for package in listed {
        let known = PACKAGES.iter().any(|(name, _)| *name == package);
        assert!(known, "`{package}` has no place in tests/house.rs yet");
    }
    let mut offences = Vec::new();
    for source in sources() {
        for (package, place) in PACKAGES {
            let used = source
                .lines
                .iter()
                .any(|line| line.contains(&format!("{package}::")) && names(line, package));
            let mut places = PACKAGES.iter().filter(|(name, _)| *name == package);
            if used && !places.any(|(_, place)| source.path.starts_with(place)) {
                offences.push(format!(
                    "{} names {package}, whose place is {place}",
                    source.path
                ));
            }
        }
    }
    assert_none("each external package is named in one place", &offences);
}

#[test]
fn only_the_output_prints() {
    let printers = [
        "println!",
        "print!",
        "eprintln!",
        "eprint!",
        "stdout()",
        "stderr()",
    ];
    let mut offences = Vec::new();
    for source in sources() {
        for (i, line) in source.code().iter().enumerate() {
            let prints = printers.iter().any(|printer| line.contains(printer));
            if prints && source.path != "app/output.rs" {
                offences.push(format!("{}:{}: {line}", source.path, i + 1));
            }
        }
    }
    assert_none("only app/output.rs prints", &offences);
}

#[test]
fn the_core_is_deaf_and_blind() {
    let mut offences = Vec::new();
    for source in sources().iter().filter(|source| source.floor() == "core") {
        for (i, line) in source.code().iter().enumerate() {
            if let Some(word) = NOT_IN_CORE.iter().find(|word| names(line, word)) {
                offences.push(format!("{}:{}: {word}", source.path, i + 1));
            }
        }
    }
    assert_none(
        "no socket, file, thread, clock or lock in the core",
        &offences,
    );
}

#[test]
fn every_thread_has_a_name() {
    let mut offences = Vec::new();
    for source in sources() {
        for (i, line) in source.code().iter().enumerate() {
            if line.contains("thread::spawn(") {
                offences.push(format!("{}:{}", source.path, i + 1));
            }
        }
    }
    assert_none(
        "threads are made by a `Builder`, which names them",
        &offences,
    );
}

#[test]
fn unsafe_stays_in_the_files_that_need_it() {
    let mut offences = Vec::new();
    for source in sources() {
        let uses = source.lines.iter().any(|line| {
            names(line, "unsafe")
                && ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"]
                    .iter()
                    .any(|u| line.contains(u))
        });
        if uses && !UNSAFE.contains(&source.path.as_str()) {
            offences.push(source.path);
        }
    }
    assert_none("no `unsafe` here", &offences);
}

#[test]
fn files_are_small() {
    let mut offences = Vec::new();
    for source in sources() {
        let limit = if source.floor() == "bin" { 60 } else { 600 };
        if source.code > limit {
            offences.push(format!("{}: {} lines", source.path, source.code));
        }
    }
    assert_none(
        "at most 600 lines before the tests, 60 for a program",
        &offences,
    );
}

#[test]
fn the_top_level_holds_only_what_the_plan_says() {
    let mut offences = Vec::new();
    for entry in fs::read_dir(root()).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        if !TOP_LEVEL.contains(&name.as_str()) {
            offences.push(name);
        }
    }
    assert_none("too much at the top level", &offences);
}

/// The rows of `src/requirements.md`: for whom or what, what, where, shown by.
fn requirements() -> Vec<[String; 4]> {
    let text = fs::read_to_string(root().join("src/requirements.md")).unwrap();
    let rows = text.lines().filter(|line| {
        line.starts_with("| ") && !line.starts_with("| ---") && !line.ends_with("| shown by |")
    });
    let cells = |row: &str| -> Vec<String> {
        let inner = row.trim_matches('|').split('|');
        inner.map(|cell| cell.trim().to_owned()).collect()
    };
    rows.map(|row| {
        cells(row)
            .try_into()
            .unwrap_or_else(|_| panic!("four cells: {row}"))
    })
    .collect()
}

/// What stands between backticks.
fn spans(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// `path` below `src`, or else below the top folder.
fn place(path: &str) -> PathBuf {
    let below = root().join("src").join(path);
    if below.exists() {
        below
    } else {
        root().join(path)
    }
}

/// What of a reference is not there; it reads `FILE.rs: a_test, another_test` or `FILE.md: A heading`.
fn missing(reference: &str) -> Vec<String> {
    let Some((path, names)) = reference.split_once(": ") else {
        return vec![reference.to_owned()];
    };
    let text = fs::read_to_string(place(path)).unwrap_or_default();
    let there = |name: &str| {
        if path.ends_with(".md") {
            let level = |line: &str| line.len() - line.trim_start_matches('#').len();
            text.lines()
                .any(|line| level(line) > 0 && line[level(line)..].trim() == name)
        } else {
            has_test(&text, name)
        }
    };
    names
        .split(", ")
        .filter(|name| !there(name))
        .map(|name| format!("{path}: {name}"))
        .collect()
}

/// Whether a function of this name stands in `text`, and is a test.
fn has_test(text: &str, name: &str) -> bool {
    text.find(&format!("fn {name}(")).is_some_and(|at| {
        let before = &text[..at];
        let attribute = before.rfind("#[test]");
        attribute.is_some_and(|from| !before[from..].contains("fn "))
    })
}

#[test]
fn every_requirement_has_its_row() {
    let rows = requirements();
    let numbers = rows.iter().flat_map(|[numbers, ..]| {
        let numbers = numbers.split(", ").map(|text| text.strip_prefix('R'));
        numbers.filter_map(|number| number?.parse::<u32>().ok())
    });
    let mut found: Vec<_> = numbers.collect();
    found.sort_unstable();
    let all = (1..=LAST_REQUIREMENT).filter(|n| !NOT_REQUIRED.contains(n));
    assert_eq!(found, all.collect::<Vec<_>>());
}

#[test]
fn what_the_table_of_requirements_names_is_there() {
    let mut offences = Vec::new();
    for [row, _, places, shown] in requirements() {
        let gone = spans(&places).filter(|path| !place(path).exists());
        offences.extend(gone.map(|path| format!("{row}: {path}")));
        if spans(&shown).next().is_none() && shown != "no test" {
            offences.push(format!("{row}: neither a test nor `no test`"));
        }
        let gone = spans(&shown).flat_map(missing);
        offences.extend(gone.map(|what| format!("{row}: {what}")));
    }
    assert_none("the table of requirements is true", &offences);
}
