//! What cron does on one host: it starts the same command again and again, whether or not the last one has ended.

use std::process::Command;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::support::ours::LIMIT;
use super::support::process::{Ended, Process};

/// A minute, as cron has it, made short.
const MINUTE: Duration = Duration::from_secs(1);

enum Order {
    /// The host goes down: every process is killed. It is up again after two minutes.
    Reboot,
    /// No more calls, and an end to those that run.
    Stop,
}

/// See the module.
pub(crate) struct Cron {
    orders: Sender<Order>,
    thread: JoinHandle<Vec<Ended>>,
}

impl Cron {
    /// From now on, what `command` gives is started every minute.
    pub(crate) fn start(name: String, command: impl Fn() -> Command + Send + 'static) -> Self {
        let (orders, receiver) = mpsc::channel();
        let thread = thread::spawn(move || work(&name, command, &receiver));
        Self { orders, thread }
    }

    /// Kills everything, as a host that loses its power does.
    pub(crate) fn reboot(&self) {
        let _ = self.orders.send(Order::Reboot);
    }

    /// How each call ended, in the order in which they did.
    pub(crate) fn stop(self) -> Vec<Ended> {
        let _ = self.orders.send(Order::Stop);
        self.thread.join().expect("cron does not fail")
    }
}

fn work(name: &str, command: impl Fn() -> Command, orders: &Receiver<Order>) -> Vec<Ended> {
    let (mut running, mut ended) = (Vec::<Process>::new(), Vec::new());
    loop {
        running.push(Process::start(name, command()));
        match orders.recv_timeout(MINUTE) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(Order::Reboot) => {
                running.iter_mut().for_each(Process::kill);
                thread::sleep(2 * MINUTE);
            }
            Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => break,
        }
        let over = running.extract_if(.., |process| process.has_ended());
        ended.extend(over.map(|mut process| process.wait(LIMIT)));
    }
    ended.extend(running.iter_mut().map(|process| process.stop(LIMIT)));
    ended
}
