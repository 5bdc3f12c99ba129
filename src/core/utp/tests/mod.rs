//! Two connections and the network between them, in virtual time, from one seed.

mod link;
mod transfer;
