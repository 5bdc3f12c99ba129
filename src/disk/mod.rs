//! Floor 3, files: where payloads and their state lie, and the threads that hash them.
