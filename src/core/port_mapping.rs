//! When a port mapping is asked for again.

use std::time::Duration;

use super::back_off::back_off;

/// How long a mapping is asked for.
pub const LEASE: Duration = Duration::from_secs(3600);

/// The pause after a first failure.
const FIRST: Duration = Duration::from_secs(30);
/// The longest pause between two attempts.
const LONGEST: Duration = Duration::from_secs(1800);
/// However short a lease is, it is not renewed sooner.
const SHORTEST: Duration = Duration::from_secs(30);

/// How the mapping of a run is kept up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Upkeep {
    failures: u32,
}

impl Upkeep {
    /// The gateway has granted so much, `None` for good. Returns when to ask again: at half of it, so that there is time for another try, and
    /// soon enough to notice that a gateway has begun anew and forgotten.
    pub fn granted(&mut self, lease: Option<Duration>) -> Duration {
        self.failures = 0;
        let lease = lease.unwrap_or(LEASE).min(LEASE);
        (lease / 2).max(SHORTEST)
    }

    /// Nothing was granted. Returns when to ask again.
    pub fn refused(&mut self, rng: &mut fastrand::Rng) -> Duration {
        self.failures += 1;
        back_off(self.failures, FIRST, LONGEST, rng)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_is_renewed_at_half_of_its_lease() {
        let mut upkeep = Upkeep::default();
        let mut secs = |lease: Option<u64>| {
            let lease = lease.map(Duration::from_secs);
            upkeep.granted(lease).as_secs()
        };
        assert_eq!([secs(Some(600)), secs(Some(3600))], [300, 1800]);
        assert_eq!(secs(Some(u64::MAX)), 1800, "the gateway may begin anew");
        assert_eq!([secs(None), secs(Some(0))], [1800, 30]);
    }

    #[test]
    fn a_gateway_that_refuses_is_asked_ever_less_often() {
        let (mut upkeep, mut rng) = (Upkeep::default(), fastrand::Rng::with_seed(1));
        let pauses: Vec<_> = (0..10)
            .map(|_| upkeep.refused(&mut rng).as_secs())
            .collect();
        assert!(pauses[0] < 40 && pauses[1] >= 40, "{pauses:?}");
        assert!(pauses.iter().all(|&pause| (22..=2250).contains(&pause)));
        upkeep.granted(None);
        assert!(upkeep.refused(&mut rng).as_secs() < 40);
    }
}
