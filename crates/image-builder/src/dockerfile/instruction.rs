//! What an instruction says, before any variable is expanded.

use super::lines::{HereDoc, Line};
use super::{MountText, Text, arguments};
use std::time::Duration;

/// An instruction of a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// What to do.
    pub command: Command,
    /// Where in the file, from 1; 0 for a trigger of a base image.
    pub line: usize,
    /// How it is written.
    pub text: String,
}

/// The instructions, but for `FROM`, which begins a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Local or remote files, archives unpacked.
    Add(Transfer),
    /// Build arguments with their defaults.
    Arg(Vec<(String, Option<String>)>),
    /// What containers run.
    Cmd(Form),
    /// Files.
    Copy(Transfer),
    /// What containers run in front of their command.
    Entrypoint(Form),
    /// Variables.
    Env(Vec<(String, String)>),
    /// Ports.
    Expose(Vec<String>),
    /// How to tell whether a container is well.
    HealthCheck(HealthCheck),
    /// Labels.
    Label(Vec<(String, String)>),
    /// The author.
    Maintainer(String),
    /// An instruction for builds upon the image.
    OnBuild(String),
    /// A command.
    Run(Run),
    /// The shell of shell forms.
    Shell(Vec<String>),
    /// What ends containers.
    StopSignal(String),
    /// Who runs.
    User(String),
    /// Directories that become volumes.
    Volume(Vec<String>),
    /// Where commands run.
    Workdir(String),
}

/// A command line: words, or a text for the shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// `["a", "b"]`
    Exec(Vec<String>),
    /// `a b`
    Shell(String),
}

/// `ADD` and `COPY`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transfer {
    /// What to copy, as patterns.
    pub sources: Vec<String>,
    /// Files written in the Dockerfile itself.
    pub documents: Vec<HereDoc>,
    /// Where to.
    pub destination: String,
    /// `--from`: a stage, an image or a named context.
    pub from: Option<String>,
    /// `--chown`
    pub chown: Option<String>,
    /// `--chmod`
    pub chmod: Option<String>,
    /// `--link`: does not depend on what is below.
    pub link: bool,
    /// `--parents`: keeps directories.
    pub parents: bool,
    /// `--exclude`
    pub exclude: Vec<String>,
    /// `--checksum` of a remote file
    pub checksum: Option<String>,
    /// `--keep-git-dir`
    pub keep_git_dir: bool,
    /// `--unpack` of remote archives; local ones are, unless it is `false`.
    pub unpack: Option<bool>,
}

/// `RUN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The command.
    pub command: Form,
    /// Its here-documents.
    pub documents: Vec<HereDoc>,
    /// `--mount`
    pub mounts: Vec<MountText>,
    /// `--network`
    pub network: Network,
    /// `--security`
    pub security: Security,
}

/// `--security` of a `RUN`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Security {
    /// As containers run.
    #[default]
    Sandbox,
    /// As privileged containers run, if the engine's operator allows that.
    Insecure,
}

/// `--network` of a `RUN`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Network {
    /// That of the build.
    #[default]
    Default,
    /// Loopback alone.
    None,
    /// The host's, if the build may.
    Host,
}

/// A mount for one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where.
    pub target: String,
    /// Forbid writing.
    pub readonly: bool,
    /// Of what.
    pub kind: MountKind,
}

/// What a mount shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountKind {
    /// Files of the context, a stage or an image.
    Bind(Bind),
    /// A directory that lasts from build to build.
    Cache(CacheMount),
    /// Memory.
    Tmpfs(Tmpfs),
    /// A file that no layer has.
    Secret(Secret),
    /// The socket of an agent.
    Ssh(Secret),
}

/// `type=bind`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bind {
    /// A stage or an image; the context if absent.
    pub from: Option<String>,
    /// A path in it.
    pub source: String,
}

/// `type=cache`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheMount {
    /// Which; the target if not said.
    pub id: String,
    /// What it begins with: a stage or an image.
    pub from: Option<String>,
    /// A path in that.
    pub source: String,
    /// With whom it is shared.
    pub sharing: CacheSharing,
    /// Of a new directory.
    pub mode: u32,
    /// Of a new directory.
    pub uid: u32,
    /// Of a new directory.
    pub gid: u32,
}

/// Who may use a cache at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CacheSharing {
    /// Everybody.
    #[default]
    Shared,
    /// One; a second one gets another directory.
    Private,
    /// One after the other.
    Locked,
}

/// `type=tmpfs`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tmpfs {
    /// Bytes, or no bound of its own.
    pub size: Option<u64>,
}

/// `type=secret`, `type=ssh`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// Which.
    pub id: String,
    /// The variable that gets it.
    pub env: Option<String>,
    /// The build fails without it.
    pub required: bool,
    /// Of the file.
    pub mode: u32,
    /// Of the file.
    pub uid: u32,
    /// Of the file.
    pub gid: u32,
}

/// `HEALTHCHECK`. What is not said is left to the engine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HealthCheck {
    /// What to run.
    pub test: HealthTest,
    /// Between checks.
    pub interval: Duration,
    /// For one check.
    pub timeout: Duration,
    /// After the start.
    pub start_period: Duration,
    /// Between checks then.
    pub start_interval: Duration,
    /// Failures until it is unhealthy.
    pub retries: u32,
}

/// What a health check runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum HealthTest {
    /// Nothing, whatever the base image says.
    #[default]
    None,
    /// A command.
    Command(Form),
}

/// What a line says.
pub(super) enum Parsed {
    /// A new stage.
    From(super::from::From),
    /// Something in it.
    Command(Command),
}

/// Reads one line.
pub(super) fn parse(line: Line, escape: char) -> Text<Parsed> {
    let (name, rest) = super::words::first(&line.text);
    let name = super::names::find(name)?;
    if name == "FROM" {
        return super::from::parse(rest, escape).map(Parsed::From);
    }
    arguments::parse(name, rest, line.documents, escape).map(Parsed::Command)
}
