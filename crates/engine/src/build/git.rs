//! Git repositories as contexts (`remote=`) and as sources of `ADD`: `URL[#ref[:directory]]`.
//!
//! The repository is fetched by the host's `git`, which gets an environment of its own: no configuration, no prompts,
//! no other transports than the ones named here, no hooks; submodules' repositories are fetched in the same way. What it
//! checks out is read like any hostile tree, and is gone with the fetch.

use super::scratch::Scratch;
use super::spool::Spool;
use crate::{Engine, blocking};
use gantry_image_store::pack::{self, Form, Found};
use gantry_model::error::Context;
use gantry_model::{Error, Result};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::process::{Pid, Signal, kill_process_group};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// What git says is kept up to here.
const MOST_SAID: usize = 64 << 10;
/// Of a server that sends nothing: git gives up after so many seconds.
const STALLED: &str = "60";

/// A repository, and what of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GitUrl {
    url: String,
    reference: String,
    directory: String,
    /// How the number of the commit must begin.
    checksum: Option<String>,
    /// Git's own files are wanted, too.
    keep: bool,
}

impl GitUrl {
    /// Whether a URL is one of a repository.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (url, fragment) = text.split_once('#').unwrap_or((text, ""));
        let is = |prefix: &str| url.starts_with(prefix);
        let over_http = (is("http://") || is("https://")) && url.strip_suffix(".git").is_some();
        let other = is("git://") || is("ssh://") || is("git@");
        let url = if is("github.com/") {
            format!("https://{url}")
        } else if over_http || other {
            url.to_owned()
        } else {
            return None;
        };
        let (reference, directory) = fragment.split_once(':').unwrap_or((fragment, ""));
        let reference = if reference.is_empty() { "HEAD" } else { reference };
        let (reference, directory) = (reference.to_owned(), directory.to_owned());
        Some(Self { url, reference, directory, checksum: None, keep: false })
    }

    /// The same with what an instruction says of it.
    pub(super) fn with(self, checksum: Option<String>, keep: bool) -> Self {
        Self { checksum, keep, ..self }
    }

    /// A name that git would take for an option, or for more than a name.
    fn check(&self) -> Result<()> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+');
        let reference = &self.reference;
        if reference.starts_with('-') || reference.contains("..") || !reference.chars().all(plain) {
            return Err(Error::invalid(format!("invalid git reference: {reference}")));
        }
        let hexadecimal = |text: &String| !text.is_empty() && text.chars().all(|c| c.is_ascii_hexdigit());
        match &self.checksum {
            Some(checksum) if !hexadecimal(checksum) => {
                Err(Error::invalid(format!("invalid checksum {checksum:?}: it must be a commit's number")))
            }
            _ => Ok(()),
        }
    }

    /// Whether it is the commit that was wanted.
    fn verify(&self, commit: &str) -> Result<()> {
        match &self.checksum {
            Some(checksum) if !commit.starts_with(&checksum.to_ascii_lowercase()) => {
                Err(Error::invalid(format!("expected checksum to match {checksum}, got {commit}")))
            }
            _ => Ok(()),
        }
    }
}

impl Engine {
    /// Fetches a repository's files.
    pub(super) async fn fetch_git(&self, git: GitUrl) -> Result<Spool> {
        git.check()?;
        let engine = self.arc();
        let running = Arc::<Running>::default();
        // Ends git when the client goes away.
        let _ended = EndWith(running.clone());
        blocking(move || {
            let scratch = engine.scratch()?;
            let commit = checkout(&git, &scratch, &running)?;
            git.verify(&commit)?;
            let mut spool = read(&git, &scratch, &engine.build_dir()?.join("tmp"))?;
            // Git writes times and places into its own files.
            spool.version = git.keep.then(|| format!("{commit} {}", git.directory));
            Ok::<_, Error>(spool)
        })
        .await
    }
}

/// Checks the reference out; the newest state alone, where the server can tell it by name. Returns the commit's number.
fn checkout(git: &GitUrl, scratch: &Scratch, running: &Running) -> Result<String> {
    let quietly = |arguments: &[&str]| run(arguments, scratch, running).map(drop);
    fetch(git, &quietly)?;
    submodules(scratch, &quietly)?;
    Ok(run(&["rev-parse", "HEAD"], scratch, running)?.trim().to_owned())
}

fn fetch(git: &GitUrl, run: &dyn Fn(&[&str]) -> Result<()>) -> Result<()> {
    run(&["init", "--quiet", "."])?;
    // Submodules may say where they are in relation to it.
    run(&["remote", "add", "origin", &git.url])?;
    let shallow = ["fetch", "--quiet", "--no-tags", "--depth=1", "--", &git.url, &git.reference];
    if run(&shallow).is_ok() {
        return run(&["checkout", "--quiet", "--detach", "FETCH_HEAD"]);
    }
    // A commit by its number, or a server that knows no depths.
    let all = ["fetch", "--quiet", "--tags", "--", &git.url, "+refs/heads/*:refs/remotes/origin/*"];
    run(&all)?;
    let branch = format!("origin/{}", git.reference);
    run(&["checkout", "--quiet", "--detach", &git.reference, "--"])
        .or_else(|_| run(&["checkout", "--quiet", "--detach", &branch, "--"]))
}

/// Fetches the repositories within it, and those within these.
fn submodules(scratch: &Scratch, run: &dyn Fn(&[&str]) -> Result<()>) -> Result<()> {
    if scratch.upper().join(".gitmodules").symlink_metadata().is_err() {
        return Ok(());
    }
    let update = ["submodule", "--quiet", "update", "--init", "--recursive"];
    // A commit that is no branch's newest is not to be had by every server without the others.
    run(&[&update[..], &["--depth=1"]].concat()).or_else(|_| run(&update)).context("its submodules")
}

/// Runs git to its end; what it said. The daemon's children are reaped by the kernel, so that a shell has to say how it
/// ended, and its umask is not the daemon's.
fn run(arguments: &[&str], scratch: &Scratch, running: &Running) -> Result<String> {
    let dir = scratch.upper();
    let (mut output, end) = io::pipe()?;
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", "umask 022; git \"$@\" </dev/null; printf '\\n%s' $?", "sh", "-c", "core.hooksPath=/dev/null"])
        .args(arguments)
        .current_dir(&dir)
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", scratch.empty())
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_ASKPASS", "/bin/false")
        .env("GIT_SSH_COMMAND", "ssh -oBatchMode=yes")
        .env("GIT_ALLOW_PROTOCOL", "git:http:https:ssh")
        // By the environment, for submodules are fetched by other processes: those forget what the command line says.
        .env("GIT_TEMPLATE_DIR", scratch.empty())
        .env("GIT_HTTP_LOW_SPEED_TIME", STALLED)
        .env("GIT_HTTP_LOW_SPEED_LIMIT", "1")
        // Without a name for its log git asks the name server for the host's, which may take ten seconds.
        .env("GIT_COMMITTER_NAME", "gantry")
        .env("GIT_COMMITTER_EMAIL", "gantry@localhost")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(end.try_clone()?)
        .stderr(end);
    let child = command.spawn().context("running git")?;
    drop(command);
    running.set(child.id());
    let mut said = Vec::new();
    output.by_ref().take(MOST_SAID as u64).read_to_end(&mut said)?;
    io::copy(&mut output, &mut io::sink())?;
    running.clear();
    let said = String::from_utf8_lossy(&said).into_owned();
    let (text, status) = said.rsplit_once('\n').unwrap_or((&said, ""));
    match status {
        "0" => Ok(text.to_owned()),
        "127" => Err(Error::invalid("git is not installed on the engine's host")),
        _ => Err(Error::invalid(format!("error fetching the git repository: {}", text.trim()))),
    }
}

/// The files that were checked out, without git's own unless they are wanted.
fn read(git: &GitUrl, scratch: &Scratch, dir: &Path) -> Result<Spool> {
    let top = super::backend::open_layer(&scratch.upper())?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = if git.directory.is_empty() { "." } else { git.directory.as_str() };
    let opened = openat2(&top, directory, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS);
    let root: OwnedFd = opened.map_err(io::Error::from).map_err(|e| {
        Error::invalid(format!("error setting git context, {directory} is no directory of the repository: {e}"))
    })?;
    let (mut archive, mut end) = io::pipe()?;
    thread::scope(|scope| {
        let packer = scope.spawn(move || {
            let own = |_: &Found, path: &[u8]| path == b".git" && !git.keep;
            pack::pack(&root, Form::Tree, None, &own, &mut end)
        });
        let spool = Spool::read(&mut archive, dir);
        drop(archive);
        let packed = packer.join().unwrap_or_else(|_| Err(pack::PackError::Write(io::ErrorKind::Other.into())));
        match (spool, packed) {
            (Ok(spool), Ok(_)) => Ok(spool),
            (Err(e), _) => Err(e),
            (_, Err(e)) => Err(e.into()),
        }
    })
}

/// The process group that runs, if one does. Its number is nobody else's as long as one of it has the pipe.
#[derive(Default)]
struct Running(Mutex<Option<Pid>>);

impl Running {
    fn set(&self, pid: u32) {
        *self.lock() = i32::try_from(pid).ok().and_then(Pid::from_raw);
    }

    fn clear(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Pid>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the group when the future that waits for it is dropped.
struct EndWith(Arc<Running>);

impl Drop for EndWith {
    fn drop(&mut self) {
        if let Some(group) = self.0.lock().take() {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::GitUrl;

    #[test]
    fn urls() {
        let parse = |text| GitUrl::parse(text).map(|git| (git.url, git.reference, git.directory));
        let of = |a: &str, b: &str, c: &str| Some((a.to_owned(), b.to_owned(), c.to_owned()));
        assert_eq!(parse("git://h/r"), of("git://h/r", "HEAD", ""));
        assert_eq!(parse("https://h/r.git#v1:sub/dir"), of("https://h/r.git", "v1", "sub/dir"));
        assert_eq!(parse("git@h:r#:sub"), of("git@h:r", "HEAD", "sub"));
        assert_eq!(parse("github.com/u/r"), of("https://github.com/u/r", "HEAD", ""));
        assert_eq!(parse("https://h/context.tar"), None);
        assert_eq!(parse("file:///r.git"), None);
    }

    #[test]
    fn references_are_names() {
        for (reference, good) in
            [("v1.0", true), ("feature/x", true), ("--upload-pack=x", false), ("a..b", false), ("a b", false)]
        {
            let git = GitUrl::parse(&format!("git://h/r#{reference}")).unwrap();
            assert_eq!(git.check().is_ok(), good, "{reference}");
        }
        let git = |checksum: &str| GitUrl::parse("git://h/r").unwrap().with(Some(checksum.to_owned()), false);
        assert!(git("").check().is_err() && git("sha256:1").check().is_err());
        assert!(git("AB").verify("abc").is_ok());
        assert_eq!(git("ac").verify("abc").unwrap_err().message(), "expected checksum to match ac, got abc");
    }
}
