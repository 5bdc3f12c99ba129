//! Threads: each has a name and a small stack, and none dies in silence.

use std::thread;

/// Bytes of stack. Connections have two threads each, and none of them holds anything large on its stack.
const STACK: usize = 256 * 1024;

/// Starts a thread. Returns whether the system let us.
pub fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Option<thread::JoinHandle<()>> {
    thread::Builder::new()
        .name(name.to_owned())
        .stack_size(STACK)
        .spawn(body)
        .ok()
}

/// Makes a panic in any thread end the program with an error: half a program would be worse than none.
pub fn panics_are_fatal() {
    std::panic::set_hook(Box::new(|info| {
        let thread = thread::current();
        let name = thread.name().unwrap_or("unnamed");
        crate::app::output::note(format_args!(
            "error: internal fault in thread `{name}`: {info}"
        ));
        std::process::exit(1);
    }));
}
