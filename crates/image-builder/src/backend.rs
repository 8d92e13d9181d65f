//! What the builder needs of an engine: images, files, and somebody who carries a step out.

use crate::config::Config;
use crate::console::Console;
use crate::dockerfile::{CacheMount, Network, Secret, Security, Tmpfs};
use crate::ignore::Ignore;
use crate::select::Selected;
use crate::source::Source;
use crate::transfer::Chmod;
use gantry_model::{Error, Result, Timestamp};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

/// An image that something is built upon. Without an id it is `scratch`.
#[derive(Debug, Clone, Default)]
pub struct Base {
    /// `sha256:...`
    pub id: Option<String>,
    /// Its configuration.
    pub config: Config,
    /// Its author.
    pub author: String,
    /// Build arguments that the stage it comes of declared, with their defaults.
    pub arguments: BTreeMap<String, Option<String>>,
}

/// Whose files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilesOf {
    /// What the client sent.
    Context,
    /// An image, by id; `None` is `scratch`.
    Image(Option<String>),
    /// A file elsewhere.
    Url {
        /// Where.
        url: String,
        /// What its digest must be.
        checksum: Option<String>,
    },
    /// A git repository.
    Git {
        /// Where, with what of it behind a `#`.
        url: String,
        /// How its commit's number must begin.
        checksum: Option<String>,
        /// Git's own files are wanted, too.
        keep: bool,
    },
}

/// A step: an action upon an image, and what the image that comes of it says.
pub struct Step {
    /// What it stands on; `None` is `scratch`.
    pub parent: Option<String>,
    /// What changes files.
    pub action: Action,
    /// The new configuration.
    pub config: Config,
    /// The author.
    pub author: String,
    /// The line in its history.
    pub created_by: String,
    /// The time that it says, if the client wants a certain one.
    pub created: Option<Timestamp>,
}

/// What changes files.
pub enum Action {
    /// Nothing does.
    None,
    /// A directory that has to be there.
    MakeDirectory(String),
    /// Files are copied.
    Copy(Copy),
    /// A command runs.
    Run(Box<RunAction>),
}

/// Files to copy.
pub struct Copy {
    /// What.
    pub parts: Vec<CopyPart>,
    /// Where to, absolute.
    pub destination: String,
    /// The destination is a directory whether or not it is there.
    pub into_directory: bool,
    /// `--chown`
    pub chown: Option<String>,
    /// `--chmod`
    pub chmod: Option<Chmod>,
    /// `--exclude`
    pub exclude: Ignore,
    /// `--parents`
    pub parents: bool,
    /// `--link`: whatever lies below is not looked at.
    pub link: bool,
}

/// Files of one source.
pub struct CopyPart {
    /// Where they are.
    pub source: Arc<dyn Source>,
    /// Which.
    pub selected: Vec<Selected>,
    /// Archives among them are unpacked.
    pub unpack: bool,
    /// Files keep their owners; others become root's.
    pub keep_owners: bool,
}

/// A command.
pub struct RunAction {
    /// Program and arguments.
    pub command: Vec<String>,
    /// How the failure of the command is reported.
    pub shown: String,
    /// Variables beside the image's.
    pub environment: Vec<String>,
    /// Files to run, by name, in a directory that no layer has.
    pub scripts: Vec<(String, String)>,
    /// Mounts.
    pub mounts: Vec<RunMount>,
    /// Its network.
    pub network: Network,
    /// How much it may do.
    pub security: Security,
}

/// Where scripts are while they run.
pub const SCRIPTS: &str = "/dev/pipes";

/// A mount for one command, its source found.
pub struct RunMount {
    /// Where, absolute.
    pub target: String,
    /// Forbid writing.
    pub readonly: bool,
    /// Of what.
    pub of: MountOf,
}

/// What a mount shows.
pub enum MountOf {
    /// A path in somebody's files.
    Files {
        /// Whose.
        of: FilesOf,
        /// Which; empty is all of them.
        path: String,
    },
    /// A directory that lasts, and what it begins with.
    Cache(CacheMount, Option<FilesOf>),
    /// Memory.
    Tmpfs(Tmpfs),
    /// A file that no layer has.
    Secret(Secret),
    /// The socket of an agent.
    Ssh(Secret),
}

/// Why a build ended.
#[derive(Debug)]
pub enum BuildError {
    /// A command ended with a status other than 0.
    Command {
        /// The status.
        code: i64,
        /// In Docker's words.
        message: String,
    },
    /// Everything else.
    Other(Error),
}

impl From<Error> for BuildError {
    fn from(e: Error) -> Self {
        Self::Other(e)
    }
}

/// An engine, as far as a builder needs one.
pub trait Backend: Send + Sync {
    /// The image that a `FROM` or `--from` names; it is pulled where that is needed.
    fn base(&self, name: &str, platform: Option<&str>) -> impl Future<Output = Result<Base>> + Send;

    /// An image that is here, by id.
    fn image(&self, id: &str) -> Option<Base>;

    /// Files to read. A file elsewhere is fetched first.
    fn files(&self, of: &FilesOf) -> impl Future<Output = Result<Arc<dyn Source>>> + Send;

    /// Carries a step out; the id of the image that comes of it.
    fn carry_out(&self, step: Step, console: &Console) -> impl Future<Output = Result<String, BuildError>> + Send;

    /// An image with the step's parent below and, on that, the last layer of another image; `None` if it has none.
    fn graft(&self, step: Step, image: &str) -> impl Future<Output = Result<Option<String>>> + Send;

    /// What comes of a step according to images that were built elsewhere and may serve as a cache.
    fn imported(&self, step: &Step) -> impl Future<Output = Option<String>> + Send;
}
