//! One torrent's swarm as we see it: who has what, whom to ask for which block, whom to serve.

pub mod event;
