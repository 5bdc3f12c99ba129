//! Files kept open, within a bound, because opening costs more than reading a batch of blocks.

use std::collections::HashMap;
use std::fs::File;
use std::sync::{Arc, Mutex};

use super::held;

/// Files of one payload that are kept open at most.
pub(super) const MAX_HANDLES: usize = 128;

/// The open files of a payload. The lock is held for a look-up and never for I/O; whoever uses a file holds it by its `Arc`, so that
/// taking it out here closes it only when the last user is done.
#[derive(Debug, Default)]
pub(super) struct Handles(Mutex<Cache>);

#[derive(Debug, Default)]
struct Cache {
    open: HashMap<usize, Slot>,
    /// Counts uses.
    now: u64,
}

#[derive(Debug)]
struct Slot {
    handle: Arc<File>,
    used: u64,
}

impl Handles {
    /// The file with this number, if it is open.
    pub(super) fn get(&self, file: usize) -> Option<Arc<File>> {
        let cache = &mut *held(&self.0);
        cache.now += 1;
        let slot = cache.open.get_mut(&file)?;
        slot.used = cache.now;
        Some(Arc::clone(&slot.handle))
    }

    /// Keeps a file that was just opened, in place of the one that was used least recently. If somebody else was faster, his counts.
    pub(super) fn put(&self, file: usize, handle: File) -> Arc<File> {
        let cache = &mut *held(&self.0);
        if cache.open.len() >= MAX_HANDLES && !cache.open.contains_key(&file) {
            let oldest = cache.open.iter().min_by_key(|(_, slot)| slot.used);
            if let Some(oldest) = oldest.map(|(&n, _)| n) {
                cache.open.remove(&oldest);
            }
        }
        let used = cache.now;
        let slot = cache.open.entry(file).or_insert_with(|| Slot {
            handle: Arc::new(handle),
            used,
        });
        Arc::clone(&slot.handle)
    }

    /// Lets all of them go.
    pub(super) fn clear(&self) {
        held(&self.0).open.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_holds_and_the_least_used_goes_first() {
        let handles = Handles::default();
        let file = || File::open("/proc/self/exe").unwrap();
        for n in 0..MAX_HANDLES {
            handles.put(n, file());
            handles.get(n);
        }
        handles.get(0);
        handles.put(MAX_HANDLES, file());
        assert_eq!(held(&handles.0).open.len(), MAX_HANDLES);
        assert!(handles.get(0).is_some() && handles.get(1).is_none());
        handles.clear();
        assert!(handles.get(0).is_none());
    }

    #[test]
    fn of_two_who_open_the_same_file_both_get_one() {
        let handles = Handles::default();
        let file = || File::open("/proc/self/exe").unwrap();
        let (a, b) = (handles.put(0, file()), handles.put(0, file()));
        assert!(Arc::ptr_eq(&a, &b));
    }
}
