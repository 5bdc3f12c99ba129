//! By what peers are selected.

use std::str::FromStr;

/// Whom an asker is told about (R51 to R54); `select` has the details.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Anybody.
    #[default]
    Random,
    /// Those of the same subnet first, then of the same zone, and some from elsewhere.
    Near,
    /// Those that are about as far, and some others; whoever is nearly done gets seeders.
    Stage,
}

impl FromStr for Policy {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        match name {
            "random" => Ok(Self::Random),
            "near" => Ok(Self::Near),
            "stage" => Ok(Self::Stage),
            _ => Err(()),
        }
    }
}
