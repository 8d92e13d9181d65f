//! The language of Dockerfiles: text to stages of instructions.

mod arguments;
mod directives;
pub mod expand;
mod flags;
mod from;
mod health;
pub mod instruction;
mod lines;
mod mount;
mod names;
mod stages;
mod transfer;
mod words;

pub use expand::{Expander, Variables};
pub use instruction::{
    Bind, CacheMount, CacheSharing, Command, Form, HealthCheck, HealthTest, Instruction, Mount, MountKind, Network,
    Run, Secret, Security, Tmpfs, Transfer,
};
pub use lines::{HereDoc, Line};
pub use mount::MountText;
pub use stages::{Dockerfile, Stage};

/// The largest file that is read as a Dockerfile; here-documents may carry whole scripts.
pub const MAX_SIZE: usize = 4 << 20;

/// What is wrong with a Dockerfile, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("dockerfile parse error on line {line}: {message}{}", shown(file, *line, text))]
pub struct DockerfileError {
    /// The file, as the client calls it.
    pub file: String,
    /// The line that the instruction begins in, from 1; 0 if it is none in particular.
    pub line: usize,
    /// The instruction.
    pub text: String,
    /// What is wrong.
    pub message: String,
}

/// The line for people: file, number, text.
pub(crate) fn shown(file: &str, line: usize, text: &str) -> String {
    const LONGEST: usize = 200;
    if line == 0 {
        return String::new();
    }
    let mut short: String = text.chars().take(LONGEST).collect();
    if short.len() < text.len() {
        short.push_str("...");
    }
    format!("\n{file}:{line}: {short}")
}

impl From<DockerfileError> for gantry_model::Error {
    fn from(e: DockerfileError) -> Self {
        let text = if e.line == 0 { e.message.clone() } else { e.to_string() };
        Self::invalid(text)
    }
}

/// A message that gets its place in the file from whoever knows it.
pub(crate) type Text<T> = Result<T, String>;
