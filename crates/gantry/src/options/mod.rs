//! The daemon's options: one table says how an option is spelled as a flag and as a key of
//! `daemon.json`, what shape its value has, and what it means here.
//!
//! The flags follow pflag and the keys follow dockerd, because the point is that a command line and
//! a file written for dockerd work unchanged; that is why this is a table and not a derive.

mod file;
mod flags;
mod shape;
mod table;

pub(crate) use file::{merge, read};
pub(crate) use flags::{Given, parse};
pub(crate) use shape::Shape;
pub(crate) use table::OPTIONS;

use thiserror::Error;

/// What an option is to this engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It does what it does in dockerd.
    Used,
    /// It concerns a part that dockerd has and Gantry does not (containerd, helper programs): one
    /// line in the debug log.
    Foreign,
    /// It has a meaning that is not implemented yet: a warning, because the user expects an effect.
    Unserved,
    /// The same, and running without it would take away a protection: the daemon does not start.
    Protective,
}

/// One option.
#[derive(Debug)]
pub(crate) struct Opt {
    /// `--flag`; empty for keys that only the file has.
    pub flag: &'static str,
    /// `-f`.
    pub short: Option<char>,
    /// The key in `daemon.json`; empty for flags that only the command line has.
    pub key: &'static str,
    /// What values look like.
    pub shape: Shape,
    /// Whether it means something here.
    pub standing: Standing,
    /// One line for `--help`; empty hides the flag there.
    pub help: &'static str,
}

/// A command line or a file that cannot be used.
#[derive(Debug, Error)]
pub(crate) enum OptionError {
    /// A long flag nobody knows.
    #[error("unknown flag: --{0}\nSee 'gantry daemon --help'.")]
    UnknownFlag(String),
    /// A short flag nobody knows.
    #[error("unknown shorthand flag: '{0}' in -{1}\nSee 'gantry daemon --help'.")]
    UnknownShort(char, String),
    /// A flag at the end of the line that wants a value.
    #[error("flag needs an argument: {0}\nSee 'gantry daemon --help'.")]
    NeedsArgument(String),
    /// A flag with a value of the wrong shape.
    #[error("invalid argument {value:?} for {flag:?} flag: {why}")]
    BadFlag {
        /// As the user knows it.
        flag: String,
        /// As given.
        value: String,
        /// What is wrong.
        why: String,
    },
    /// A word that is no flag.
    #[error("{0:?}: the daemon takes no arguments, only flags\nSee 'gantry daemon --help'.")]
    Argument(String),
    /// The file has a value of the wrong type.
    #[error("{key}: expected {expected}, found {found}")]
    WrongType {
        /// The key.
        key: String,
        /// What belongs there.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
    /// The file has a value of the right type that means nothing.
    #[error("{key}: {why}")]
    BadValue {
        /// The key.
        key: String,
        /// What is wrong.
        why: String,
    },
    /// The file has keys nobody knows.
    #[error("the following directives don't match any configuration option: {0}")]
    UnknownKeys(String),
    /// Both the line and the file say something.
    #[error("the following directives are specified both as a flag and in the configuration file: {0}")]
    Conflict(String),
    /// The file is not JSON.
    #[error("{0}")]
    NotJson(String),
    /// The file cannot be read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

#[cfg(test)]
mod tests;
