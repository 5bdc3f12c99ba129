//! Whole DHTs in virtual time, and what strangers try.

mod hostile;
mod swarm;
mod world;
