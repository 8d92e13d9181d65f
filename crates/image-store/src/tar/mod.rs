//! A reader of tar archives that trusts nothing in them, and a writer.
//!
//! The reader knows ustar, the old V7 form, PAX and GNU: long names and links, base-256 numbers, sparse files in all
//! four encodings. What an entry may do to a file system is decided in [`crate::extract`], what becomes an entry in
//! [`crate::pack`].

mod error;
mod header;
mod pax;
mod reader;
mod sparse;
mod writer;

pub use error::TarError;
pub use reader::{Archive, Entry, Kind, Time};
pub use sparse::SparseMap;
pub use writer::Writer;
