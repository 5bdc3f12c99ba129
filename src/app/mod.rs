//! Floor 4, composition: what turns the floors below into three programs.

pub mod args;
pub mod config;
pub mod failure;
pub mod output;
pub mod signals;
