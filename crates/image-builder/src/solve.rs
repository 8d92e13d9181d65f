//! A file's stages as a graph: which are needed, and when each can begin.

use crate::args::Args;
use crate::backend::{Backend, Base, BuildError};
use crate::cache::Cache;
use crate::console::{Console, Sink};
use crate::dockerfile::{Command, Dockerfile, Expander, Instruction, shown};
use crate::stage::{Done, StageRun};
use futures_util::future::{BoxFuture, try_join_all};
use gantry_model::{Error, Platform, Result, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{OnceCell, watch};

/// What a client asks for.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The stage that is wanted; the last if empty.
    pub target: String,
    /// Build arguments.
    pub arguments: BTreeMap<String, Option<String>>,
    /// Labels that the image gets beside those of the file.
    pub labels: BTreeMap<String, String>,
    /// Take no results of earlier builds.
    pub no_cache: bool,
    /// `os[/arch[/variant]]`
    pub platform: Option<String>,
    /// Results of other builds may be taken.
    pub import: bool,
}

/// What came of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// The image.
    pub image: String,
    /// The image that its stage began with.
    pub base: Option<String>,
    /// Arguments that nothing declares.
    pub unused: Vec<String>,
}

/// A build on its way.
pub(crate) struct Build<'b, B> {
    pub(crate) backend: &'b B,
    pub(crate) cache: &'b Cache,
    pub(crate) file: &'b Dockerfile,
    pub(crate) options: &'b Options,
    pub(crate) args: Args,
    pub(crate) created: Option<Timestamp>,
    /// Of each stage: the image that came of it.
    results: Vec<watch::Sender<Option<Base>>>,
    /// Of each stage that the file itself does not need, what came of it.
    late: Vec<OnceCell<Base>>,
    /// Of each stage, in what number its first step is shown.
    first_step: BTreeMap<usize, usize>,
    /// How many steps there are; more when a trigger asks for a stage that nothing else needs.
    steps: AtomicUsize,
}

/// Builds the image that a file describes.
pub async fn build<B: Backend>(
    backend: &B,
    cache: &Cache,
    file: &Dockerfile,
    options: &Options,
    sink: Box<dyn Sink>,
) -> Result<Built, BuildError> {
    let target = file.target(&options.target);
    let missing = || Error::invalid(format!("failed to reach build target {} in Dockerfile", options.target));
    let target = target.ok_or_else(missing)?;
    let mut args = Args::new(options.arguments.clone(), platform_arguments(options.platform.as_deref())?);
    let expander = Expander::new(file.escape);
    for instruction in &file.globals {
        declare_globals(&mut args, instruction, expander).map_err(|e| place(file, instruction, e))?;
    }
    let needed = needed(file, target, &args, expander)?;
    let mut steps = file.globals.len();
    let mut first_step = BTreeMap::new();
    for index in &needed {
        first_step.insert(*index, steps + 1);
        steps += 1 + file.stages[*index].instructions.len();
    }
    steps += options.labels.len();
    let created = created(&options.arguments)?;
    let results = file.stages.iter().map(|_| watch::channel(None).0).collect();
    let late = file.stages.iter().map(|_| OnceCell::new()).collect();
    let build = Build {
        backend,
        cache,
        file,
        options,
        args,
        created,
        results,
        late,
        first_step,
        steps: AtomicUsize::new(steps),
    };
    let order: Vec<usize> = needed.iter().copied().collect();
    let consoles = Console::for_stages(sink, &order);
    if let Some(console) = consoles.first() {
        build.say_globals(console).await;
    }
    let stages = order.iter().zip(consoles).map(|(index, console)| build.stage(*index, console, target));
    let done = try_join_all(stages).await?;
    let base = order.iter().zip(&done).find(|(index, _)| **index == target).and_then(|(_, done)| done.from.clone());
    let declared: BTreeSet<String> = done.into_iter().flat_map(|done| done.declared).collect();
    let image = build.results[target].borrow().as_ref().and_then(|base| base.id.clone());
    let image = image.ok_or_else(|| Error::invalid("No image was generated. Is your Dockerfile empty?"))?;
    let unused = build.args.unused(&declared).into_iter().map(str::to_owned).collect();
    Ok(Built { image, base, unused })
}

impl<B: Backend> Build<'_, B> {
    /// How many steps there are, as far as is known.
    pub(crate) fn steps(&self) -> usize {
        self.steps.load(Ordering::Relaxed)
    }

    async fn say_globals(&self, console: &Console) {
        for (at, instruction) in self.file.globals.iter().enumerate() {
            console.say(format!("Step {}/{} : {}", at + 1, self.steps(), instruction.text)).await;
            console.say("\n").await;
        }
    }

    /// Builds one stage and tells those that wait for it.
    async fn stage(&self, index: usize, console: Console, target: usize) -> Result<Done, BuildError> {
        let first = self.first_step.get(&index).copied().unwrap_or(1);
        let run = StageRun::new(self, index, console.clone(), first).run(index == target).await;
        let done = match run {
            Ok(done) => done,
            Err(e) => {
                console.fail().await;
                return Err(e);
            }
        };
        console.over().await;
        self.results[index].send_replace(Some(done.result.clone()));
        Ok(done)
    }

    /// Waits for what comes of a stage. One that nothing but a trigger asks for is built now, by whoever is first.
    async fn stage_result(&self, index: usize, console: &Console) -> Result<Base> {
        if !self.first_step.contains_key(&index) {
            let late = || self.build_late(index, console.clone());
            return self.late[index].get_or_try_init(late).await.cloned();
        }
        let mut result = self.results[index].subscribe();
        let ready = result.wait_for(Option::is_some).await;
        let base = ready.map_err(|_| Error::internal("a stage went away"))?.clone();
        base.ok_or_else(|| Error::internal("a stage has no result"))
    }

    /// A future whose type is known, because stages ask for stages.
    fn build_late(&self, index: usize, console: Console) -> BoxFuture<'_, Result<Base>> {
        Box::pin(async move {
            // Its steps come behind those that were counted.
            let first = 1 + self.steps.fetch_add(1 + self.file.stages[index].instructions.len(), Ordering::Relaxed);
            match StageRun::new(self, index, console, first).run(false).await {
                Ok(done) => Ok(done.result),
                Err(BuildError::Other(e)) => Err(e),
                Err(BuildError::Command { message, .. }) => Err(Error::invalid(message)),
            }
        })
    }

    /// What a `FROM` or `--from` names, for a stage.
    pub(crate) async fn find(
        &self,
        before: usize,
        name: &str,
        platform: Option<&str>,
        console: &Console,
    ) -> Result<Base> {
        match self.file.stage_before(before, name) {
            Some(stage) => self.stage_result(stage, console).await,
            None if name.eq_ignore_ascii_case("scratch") => Ok(Base::default()),
            None => self.backend.base(name, platform).await,
        }
    }

    /// The name in a stage's `FROM`, and its platform.
    pub(crate) fn from(&self, index: usize) -> Result<(String, Option<String>)> {
        let stage = &self.file.stages[index];
        let expander = Expander::new(self.file.escape);
        let expand = |text: &str| from_word(text, &self.args, expander);
        let image = expand(&stage.image)?;
        let platform = stage.platform.as_deref().map(expand).transpose()?.filter(|p| !p.is_empty());
        Ok((image, platform.or_else(|| self.options.platform.clone())))
    }
}

/// An error with the place of the instruction behind it.
pub(crate) fn place(file: &Dockerfile, instruction: &Instruction, message: impl std::fmt::Display) -> Error {
    Error::invalid(format!("{message}{}", shown(&file.file, instruction.line, &instruction.text)))
}

fn from_word(text: &str, args: &Args, expander: Expander) -> Result<String> {
    let word = expander.word(text, &|name: &str| args.global(name)).map_err(Error::invalid)?;
    if word.is_empty() {
        return Err(Error::invalid(format!("base name ({text}) should not be blank")));
    }
    Ok(word)
}

fn declare_globals(args: &mut Args, instruction: &Instruction, expander: Expander) -> Result<(), String> {
    let Command::Arg(list) = &instruction.command else { return Ok(()) };
    for (name, default) in list {
        let default = default.as_ref().map(|text| expander.word(text, &|name: &str| args.global(name))).transpose()?;
        args.declare_global(name, default);
    }
    Ok(())
}

/// The stages that a target needs, itself among them.
fn needed(file: &Dockerfile, target: usize, args: &Args, expander: Expander) -> Result<BTreeSet<usize>> {
    let mut needed = BTreeSet::new();
    let mut pending = vec![target];
    while let Some(index) = pending.pop() {
        if !needed.insert(index) {
            continue;
        }
        let stage = &file.stages[index];
        let base = from_word(&stage.image, args, expander)
            .map_err(|e| Error::invalid(format!("{}{}", e.message(), shown(&file.file, stage.line, &stage.text))))?;
        let names = stage.sources().chain([base.as_str()]);
        pending.extend(names.filter_map(|name| file.stage_before(index, name)));
    }
    Ok(needed)
}

/// Arguments that say for what and on what is built.
fn platform_arguments(wanted: Option<&str>) -> Result<BTreeMap<String, Option<String>>> {
    let host = Platform::host();
    let target = wanted.map(str::parse::<Platform>).transpose()?.unwrap_or_else(Platform::host);
    let mut arguments = BTreeMap::new();
    for (prefix, platform) in [("BUILD", &host), ("TARGET", &target)] {
        let whole = platform.to_string();
        let mut parts = whole.split('/').map(str::to_owned);
        for name in ["OS", "ARCH", "VARIANT"] {
            arguments.insert(format!("{prefix}{name}"), Some(parts.next().unwrap_or_default()));
        }
        arguments.insert(format!("{prefix}PLATFORM"), Some(whole));
    }
    Ok(arguments)
}

/// The time that the client wants the image to say, for builds that can be repeated.
fn created(arguments: &BTreeMap<String, Option<String>>) -> Result<Option<Timestamp>> {
    let Some(Some(text)) = arguments.get("SOURCE_DATE_EPOCH").filter(|v| v.as_deref() != Some("")) else {
        return Ok(None);
    };
    let seconds: i64 = text.parse().map_err(|_| Error::invalid(format!("invalid SOURCE_DATE_EPOCH: {text}")))?;
    Ok(Some(Timestamp::from_unix_nanos(i128::from(seconds) * 1_000_000_000)))
}
