//! A reader of tar archives that trusts nothing in them.
//!
//! It knows ustar, the old V7 form, PAX and GNU: long names and links, base-256 numbers, sparse files in all four
//! encodings. It only reads; what an entry may do to a file system is decided in [`crate::extract`].

mod error;
mod header;
mod pax;
mod reader;
mod sparse;

pub use error::TarError;
pub use reader::{Archive, Entry, Kind, Time};
pub use sparse::SparseMap;
