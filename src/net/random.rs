//! Random bytes that nobody can guess. Whatever only has to differ is made with `fastrand`.

use std::io;

use rustix::rand::{GetRandomFlags, getrandom};

/// As many as asked for.
///
/// # Errors
/// If the system has none to give.
pub fn secret<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut done = 0;
    while done < N {
        done += getrandom(&mut bytes[done..], GetRandomFlags::empty())?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_are_the_same() {
        assert_ne!(secret::<20>().unwrap(), secret::<20>().unwrap());
    }
}
