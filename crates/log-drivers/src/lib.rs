//! Log drivers that send a container's output somewhere else: syslog, gelf, fluentd, splunk, journald.
//!
//! The engine uses the options' side ([`config::parse`]): what a client may ask for, and the wording of refusals. The
//! other side is a process for each container ([`process::run`]): it reads the feed that the container's shim writes
//! and outlives the daemon as the shim does. It is the daemon's own program under another name, because the drivers
//! need TLS and the shim must stay small; a program that is not position independent shares all its pages but the few
//! it writes to, so such a process costs little more than its buffers.

pub mod config;
mod connection;
mod driver;
mod fluentd;
mod gelf;
mod journald;
mod msgpack;
pub mod process;
mod splunk;
mod syslog;
mod tls;

pub use config::{Config, OptionError, Subject};
