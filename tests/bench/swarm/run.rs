//! How a swarm went, in numbers.

use super::Stage;
use super::settings::Odd;
use crate::support::links::Sent;

/// How one swarm went.
pub struct Run {
    /// How many workers are as the rest; the odd ones come after them.
    pub usual: usize,
    /// Seconds from the start of the first worker, for a late one from its own, to each worker's complete payload; infinite if it never came.
    pub completed: Vec<f64>,
    /// The same to each worker's first connection: until then its program has been starting.
    pub begun: Vec<f64>,
    /// By the origin, from the workers' start to the last completion.
    pub sent: Sent,
    /// Seconds.
    pub origin_cpu: f64,
    /// Seconds.
    pub worker_cpu: Vec<f64>,
}

impl Run {
    /// Until the last of the usual workers was complete.
    pub fn makespan(&self) -> f64 {
        self.usual().iter().copied().fold(0.0, f64::max)
    }

    /// Until the last of the odd ones was.
    pub fn odd_makespan(&self) -> f64 {
        let odd = self.completed.iter().skip(self.usual);
        odd.copied().fold(0.0, f64::max)
    }

    /// Of the usual workers.
    pub fn mean(&self) -> f64 {
        self.usual().iter().sum::<f64>() / self.usual as f64
    }

    fn usual(&self) -> &[f64] {
        &self.completed[..self.usual]
    }

    /// From when the last worker's program has started. Somebody has been moving by then: this flatters who starts slowly.
    pub fn moving(&self) -> f64 {
        self.makespan() - self.begun[..self.usual].iter().copied().fold(0.0, f64::max)
    }

    /// What the origin has sent, in payloads; headers are in it.
    pub fn copies(&self, stage: &Stage<'_>) -> f64 {
        self.sent.bytes as f64 / stage.torrent.bytes as f64
    }

    /// Jain's index of the usual workers' rates: 1 if all are equal, 1/N if one has everything.
    pub fn fairness(&self) -> f64 {
        let rates: Vec<f64> = self.usual().iter().map(|time| 1.0 / time).collect();
        let sum: f64 = rates.iter().sum();
        let squares: f64 = rates.iter().map(|rate| rate * rate).sum();
        sum * sum / (squares * rates.len() as f64)
    }

    /// A line about it, and with `HIVEBT_BENCH_VERBOSE` one about its workers.
    pub fn told(&self, stage: &Stage<'_>) -> String {
        let done = self
            .completed
            .iter()
            .filter(|time| time.is_finite())
            .count();
        let mut line = format!(
            "{:.2} s, {:.2} x bound ({:.2} from the last start), {:.2} copies, {done} of {} done, {} packets dropped at the origin",
            self.makespan(),
            self.makespan() / stage.bound,
            self.moving() / stage.bound,
            self.copies(stage),
            stage.workers,
            self.sent.dropped,
        );
        if stage.settings.odd != Odd::None {
            let odd = self.odd_makespan();
            line += &format!(", the odd ones {odd:.2} s ({:.2})", odd / stage.odd_bound);
        }
        if stage.settings.verbose {
            let list = |values: &[f64]| {
                let words: Vec<String> = values.iter().map(|v| format!("{v:.2}")).collect();
                words.join(" ")
            };
            line += &format!("\n  complete: {}", list(&self.completed));
            line += &format!("\n  started: {}", list(&self.begun));
            line += &format!(
                "\n  CPU: origin {:.2}, workers {}",
                self.origin_cpu,
                list(&self.worker_cpu)
            );
        }
        line
    }
}
