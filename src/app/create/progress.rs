//! A line that tells how far hashing has come, for whoever watches.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::app::{human, output};
use crate::disk::hash::Watch;

/// Between two drawings.
const EVERY: Duration = Duration::from_millis(200);

/// Runs `work`; while it runs, draws how far `watch` is on the way to `total` bytes, unless `quiet` or nobody watches.
pub fn during<T>(
    label: &str,
    total: u64,
    watch: &Watch,
    quiet: bool,
    work: impl FnOnce() -> T,
) -> T {
    if quiet || !output::is_watched() {
        return work();
    }
    let started = Instant::now();
    let (working, ended) = mpsc::channel::<()>();
    let draw = move || {
        while ended.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
            output::redraw(&line(label, watch.done(), total, started.elapsed()));
        }
        output::erase();
    };
    thread::scope(|scope| {
        let named = thread::Builder::new().name("progress".into());
        // Without a thread there is no progress to see, but there is progress.
        let _ = named.spawn_scoped(scope, draw);
        let result = work();
        drop(working);
        result
    })
}

/// `name  42.0 %  1.50 GiB/s  ETA 0:07`
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)]
fn line(label: &str, done: u64, total: u64, elapsed: Duration) -> String {
    let rate = done as f64 / elapsed.as_secs_f64().max(0.001);
    let percent = human::percent(done, total);
    let rate_text = human::rate(rate as u64);
    let left = total.saturating_sub(done) as f64 / rate;
    match Duration::try_from_secs_f64(left) {
        Ok(left) => format!(
            "{label}  {percent:.1} %  {rate_text}  ETA {}",
            human::span(left)
        ),
        Err(_) => format!("{label}  {percent:.1} %  {rate_text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_share_speed_and_time_left() {
        let two = Duration::from_secs(2);
        assert_eq!(
            line("x", 1 << 30, 4 << 30, two),
            "x  25.0 %  512.0 MiB/s  ETA 0:06"
        );
        assert_eq!(line("x", 0, u64::MAX, Duration::ZERO), "x  0.0 %  0 B/s");
        assert_eq!(line("x", 0, 0, two), "x  100.0 %  0 B/s");
    }
}
