//! Connections and the network between them, in virtual time, from one seed.

mod hostile;
mod link;
mod reno;
mod shares;
mod transfer;
