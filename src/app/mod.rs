//! Floor 4, composition: what turns the floors below into three programs.

pub mod args;
pub mod config;
pub mod create;
pub mod dht;
pub mod failure;
pub mod heap;
pub mod human;
pub mod output;
pub mod peer;
pub mod processor;
pub mod signals;
pub mod torrent_file;
pub mod torrent_folder;
pub mod tracker;
pub mod web;
