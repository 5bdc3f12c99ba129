//! How long to leave somebody alone who has failed.

use std::time::Duration;

/// The pause after so many failures in a row: `first` after the first one, doubled with each further one up to `longest`, ± 25 %: hosts that
/// failed together must not all return at once.
pub(super) fn back_off(
    failures: u32,
    first: Duration,
    longest: Duration,
    rng: &mut fastrand::Rng,
) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let pause = first.saturating_mul(1 << doublings).min(longest);
    pause.mul_f64(0.75 + 0.5 * rng.f64())
}
