//! What the system lets a server have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How many descriptors this process may have as it is.
#[must_use]
pub fn descriptor_limit() -> usize {
    number(getrlimit(Resource::Nofile).current)
}

/// Lets this process have as many descriptors as it may, and tells how many that are.
#[must_use]
pub fn descriptors() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        // Where it fails, there are as many as before.
        let most = Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        };
        if setrlimit(Resource::Nofile, most).is_ok() {
            limit = most;
        }
    }
    number(limit.current)
}

/// No limit is as many as there can be.
fn number(limit: Option<u64>) -> usize {
    limit.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX))
}
