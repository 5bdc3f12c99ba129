//! The completion for bash, asked as bash asks it.

use std::collections::BTreeSet;
use std::process::Command;

use super::packaging;
use super::support::ours::{LIMIT, program};
use super::support::process::run_ok;
use super::support::tempdir::TempDir;

/// What bash offers for the last of `words` in a folder with one file, `task.torrent`.
fn offered(name: &str, words: &[&str]) -> BTreeSet<String> {
    let dir = TempDir::new("completion");
    std::fs::write(dir.join("task.torrent"), "").unwrap();
    let script = r#"source "$1"; shift
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        _hivebt "$1"
        printf '%s\n' "${COMPREPLY[@]}""#;
    let mut command = Command::new("bash");
    command.current_dir(dir.path()).args(["-c", script, "bash"]);
    command.arg(packaging().join("completions/hivebt.bash"));
    command.arg(program(name)).args(words);
    let said = run_ok("bash", command, LIMIT);
    said.lines().map(str::to_owned).collect()
}

fn set(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

#[test]
fn every_option_of_the_help_is_offered() {
    for name in ["create", "tracker", "peer"] {
        let mut help = Command::new(program(name));
        help.arg("--help");
        let help = run_ok(name, help, LIMIT);
        let offered = offered(name, &["--"]);
        let mut options = 0;
        for line in help.lines() {
            // Where options are described they come first, after blanks and perhaps a short one.
            let mut words = line
                .split_whitespace()
                .map(|word| word.trim_end_matches(','));
            let long = |word: &&str| word.len() > 2 || !word.starts_with('-');
            let option = words.find(long);
            if let Some(option) = option.filter(|word| word.starts_with("--")) {
                assert!(offered.contains(option), "{name} {option}");
                options += 1;
            }
        }
        assert!(options > 20, "{name}: {options} options");
    }
}

#[test]
fn verbs_and_files_are_offered_where_they_may_stand() {
    assert_eq!(offered("peer", &["wa"]), set(&["wait"]));
    assert_eq!(offered("peer", &["ta"]), set(&["task.torrent"]));
    assert_eq!(offered("peer", &["get", "ta"]), set(&["task.torrent"]));
    assert_eq!(offered("peer", &["get", "wa"]), set(&[""]));
    assert_eq!(offered("create", &["sh"]), set(&["show"]));
    assert_eq!(offered("tracker", &["--pol"]), set(&["--policy"]));
    assert_eq!(
        offered("create", &["edit", "--pr"]),
        set(&["--private"]),
        "a verb has a help of its own"
    );
}
