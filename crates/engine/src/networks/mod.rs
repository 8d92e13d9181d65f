//! Networks: what clients make, list and remove, and containers' places on them.

mod addresses;
pub(crate) mod connect;
mod create;
mod disconnect;
mod driver;
pub(crate) mod endpoints;
mod ipam;
pub(crate) mod join;
pub(crate) mod members;
mod plugged;
pub(crate) mod record;
pub(crate) mod registry;
mod remove;
mod replay;
pub(crate) mod restore;
mod show;
mod way_out;

pub(crate) use record::Network;
pub(crate) use registry::Networks;
