//! By what peers are selected.

use std::fmt;
use std::str::FromStr;

use super::pool::Neighbours;
use super::select::{Pick, near, random, stage};

/// Whom an asker is told about (R51 to R54); `select` has the details.
///
/// A policy is a row of functions and not a number, so that a program which names only one does not carry the others.
#[derive(Clone, Copy)]
pub struct Policy {
    name: &'static str,
    /// Leechers stand by their progress.
    pub(super) stages: bool,
    /// What knows who is near whom.
    pub(super) neighbours: Option<fn() -> Box<dyn Neighbours>>,
    pub(super) v4: Pick<[u8; 4]>,
    pub(super) v6: Pick<[u8; 16]>,
}

impl Policy {
    /// Anybody.
    pub const RANDOM: Self = Self {
        name: "random",
        stages: false,
        neighbours: None,
        v4: random::pick,
        v6: random::pick,
    };

    /// Those of the same subnet first, then of the same zone, and some from elsewhere.
    pub const NEAR: Self = Self {
        name: "near",
        stages: false,
        neighbours: Some(near::neighbours),
        v4: near::pick,
        v6: near::pick,
    };

    /// Those that are about as far, and some others; whoever is nearly done gets seeders.
    pub const STAGE: Self = Self {
        name: "stage",
        stages: true,
        neighbours: None,
        v4: stage::pick,
        v6: stage::pick,
    };
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Policy {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Policy {}

impl FromStr for Policy {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        let all = [Self::RANDOM, Self::NEAR, Self::STAGE];
        all.into_iter().find(|policy| policy.name == name).ok_or(())
    }
}
