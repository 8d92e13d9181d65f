//! The HTTP face of the engine: connections, routes, and the differences between API versions.
//!
//! [`Server::serve_connection`] speaks on one connection of any kind; listening is the caller's part.
//! Each operation is a file in `ops`; `routes.rs` lists them; `shape` turns the engine's answers,
//! which have the newest form, into the form of the version that the client asked for.

mod errors;
mod ops;
mod query;
mod registry_auth;
mod request;
mod respond;
mod router;
mod routes;
mod server;
mod shape;
mod stream;
mod version;
mod wire;

pub use server::Server;
pub use wire::Peer;
