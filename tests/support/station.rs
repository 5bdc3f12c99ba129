//! `hivebt-peer run`, asked over HTTP.

use std::net::SocketAddr;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::hosts::Host;
use super::http;
use super::ours::LIMIT;
use super::process::Process;

/// A running `hivebt-peer run`.
pub struct Station {
    /// The program.
    pub process: Process,
    /// Where it tells its status.
    pub at: SocketAddr,
    host: Host,
}

impl Station {
    /// Starts it on this machine, and waits until it can be asked.
    pub fn start(command: Command) -> Self {
        Self::start_on(&Host::local(1), command)
    }

    /// The same with a command that runs on `host`, where it is asked, too.
    pub fn start_on(host: &Host, command: Command) -> Self {
        let process = Process::start("hivebt-peer run", command);
        let at = process.status_address(LIMIT);
        Self {
            process,
            at,
            host: host.clone(),
        }
    }

    /// The status and the JSON of the answer to a request.
    pub fn ask(&self, method: &str, path: &str, body: &[u8]) -> (u16, Value) {
        let answer = self
            .host
            .within(|| http::ask(self.at, method, path, &[], body));
        let (status, body) = answer.unwrap();
        let parsed = serde_json::from_slice(&body);
        (
            status,
            parsed.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&body))),
        )
    }

    /// The text of a page.
    pub fn get(&self, path: &str) -> String {
        let (status, body) = self.host.within(|| http::get(self.at, path)).unwrap();
        assert_eq!(status, 200, "{path}");
        String::from_utf8(body).unwrap()
    }

    /// What `/stats` tells of its torrents.
    pub fn torrents(&self) -> Vec<Value> {
        let (_, stats) = self.ask("GET", "/stats", &[]);
        stats["torrents"].as_array().unwrap().clone()
    }

    /// Waits until its torrents are in these states.
    pub fn wait_states(&self, states: &[&str]) -> Vec<Value> {
        self.wait(&format!("{states:?}"), |torrents| {
            let now: Vec<_> = torrents.iter().map(|t| t["state"].clone()).collect();
            now == states
        })
    }

    /// Waits until `holds` of its torrents.
    pub fn wait(&self, what: &str, holds: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let torrents = self.torrents();
            if holds(&torrents) {
                return torrents;
            }
            assert!(
                Instant::now() < deadline,
                "{what} never came: {torrents:?}\n{}",
                self.process.tail()
            );
            thread::sleep(Duration::from_millis(20));
        }
    }
}
