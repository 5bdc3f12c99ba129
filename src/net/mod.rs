//! Floor 3, pipes without opinions: listening, dialling, HTTP.
