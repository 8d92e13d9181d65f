//! From Dockerfiles to images.
//!
//! The builder knows the language, which stages need which, what a result is kept under, and in what order things are
//! printed. It does nothing itself: whoever composes it with images, containers and files implements [`Backend`].
//!
//! A build is a graph. Its nodes are steps upon an image; edges are the image below and the files that are read from
//! other stages. Stages that the target does not need are never looked at, the others run side by side as soon as what
//! they need is there. A step's result is kept under a digest of everything that it comes of ([`Cache`]): the image
//! below, the instruction with its variables expanded, and the files, by their contents.

mod args;
pub mod backend;
pub mod cache;
pub mod config;
pub mod console;
pub mod digest;
pub mod dockerfile;
pub mod ignore;
mod key;
pub mod pattern;
pub mod select;
mod solve;
pub mod source;
mod stage;
mod steps;
mod texts;
pub mod transfer;
pub mod tree;

pub use backend::{
    Action, Backend, Base, BuildError, Copy, CopyPart, FilesOf, MountOf, RunAction, RunMount, SCRIPTS, Step,
};
pub use cache::Cache;
pub use config::Config;
pub use console::{Console, Sink};
pub use dockerfile::{Dockerfile, DockerfileError};
pub use ignore::Ignore;
pub use solve::{Built, Options, build};
pub use source::{Kind, Node, Place, Source};
pub use transfer::Chmod;
pub use tree::Tree;
