//! Docker's plugin protocol: programs beside the engine that make volumes, networks and addresses.
//!
//! A plugin is found by its name: a socket `NAME.sock`, or a file `NAME.spec` or `NAME.json` that tells its address, in
//! the [`Directories`]. It serves HTTP; each call is a `POST /Subsystem.Method` with a JSON body, answered by JSON in
//! which a field `Err` that is not empty means failure. The first call, `Plugin.Activate`, tells what it implements.
//!
//! Plugins are trusted with what they are asked to do and with nothing else: answers are bounded in size and time, and
//! a plugin that is away costs those who ask for it, not the engine.

mod address;
mod client;
mod directories;
mod error;
pub mod ipam;
pub mod network;
mod registry;
mod tls;
mod volume;

pub use directories::Directories;
pub use error::{PluginError, Result};
pub use registry::{Kind, Patience, Plugin, Plugins};
pub use volume::{PluginVolume, VolumeDriver};
