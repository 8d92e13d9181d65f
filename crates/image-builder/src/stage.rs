//! One stage, instruction by instruction.

use crate::args::Args;
use crate::backend::{Action, Backend, Base, BuildError, Step};
use crate::config::{Config, DEFAULT_PATH};
use crate::console::Console;
use crate::dockerfile::{Command, Dockerfile, Expander, Instruction};
use crate::solve::{Build, place};
use crate::steps::{metadata, run, transfer};
use gantry_model::{Error, Result};
use std::collections::BTreeSet;

/// A stage that is being built.
pub(crate) struct StageRun<'b, B> {
    pub(crate) build: &'b Build<'b, B>,
    pub(crate) index: usize,
    pub(crate) console: Console,
    /// The number of the next step.
    step: usize,
    /// The image that the stage began with.
    from: Option<String>,
    /// The image so far.
    pub(crate) image: Option<String>,
    pub(crate) config: Config,
    pub(crate) author: String,
    pub(crate) args: Args,
    /// Names of the arguments that the stage declared.
    pub(crate) declared: BTreeSet<String>,
    /// This file, and not a base image, said what runs.
    pub(crate) command_is_ours: bool,
    pub(crate) expander: Expander,
}

/// A stage that was built.
pub(crate) struct Done {
    pub(crate) result: Base,
    /// The image that it began with.
    pub(crate) from: Option<String>,
    /// Names of the arguments that it declared.
    pub(crate) declared: BTreeSet<String>,
}

impl<'b, B: Backend> StageRun<'b, B> {
    pub(crate) fn new(build: &'b Build<'b, B>, index: usize, console: Console, step: usize) -> Self {
        Self {
            build,
            index,
            console,
            step,
            from: None,
            image: None,
            config: Config::default(),
            author: String::new(),
            args: build.args.clone(),
            declared: BTreeSet::new(),
            command_is_ours: false,
            expander: Expander::new(build.file.escape),
        }
    }

    /// Builds the stage. The last one gets the client's labels.
    pub(crate) async fn run(mut self, last: bool) -> Result<Done, BuildError> {
        let triggers = self.begin().await?;
        for instruction in &triggers {
            self.dispatch(instruction).await?;
        }
        let stage = &self.build.file.stages[self.index];
        for instruction in &stage.instructions {
            self.announce(&instruction.text).await;
            self.dispatch(instruction).await?;
        }
        for label in if last { metadata::labels(&self.build.options.labels) } else { Vec::new() } {
            self.announce(&label.text).await;
            self.dispatch(&label).await?;
        }
        let arguments = self.args.declared();
        let result = Base { id: self.image, config: self.config, author: self.author, arguments };
        Ok(Done { result, from: self.from, declared: self.declared })
    }

    /// `FROM`; the instructions that the base image brings along.
    async fn begin(&mut self) -> Result<Vec<Instruction>> {
        let build = self.build;
        let stage = &build.file.stages[self.index];
        self.announce(&stage.text).await;
        let located = |e: Error| {
            let text = crate::dockerfile::shown(&build.file.file, stage.line, &stage.text);
            Error::new(e.kind(), format!("{}{text}", e.message()))
        };
        let (name, platform) = build.from(self.index).map_err(located)?;
        let base = build.find(self.index, &name, platform.as_deref(), &self.console).await.map_err(located)?;
        self.from.clone_from(&base.id);
        (self.image, self.config, self.author) = (base.id, base.config, base.author);
        self.args.inherit(base.arguments);
        if self.config.variable("PATH").is_none() {
            self.config.set_variable("PATH", DEFAULT_PATH);
        }
        self.say_image().await;
        let triggers = std::mem::take(&mut self.config.on_build);
        if triggers.is_empty() {
            return Ok(Vec::new());
        }
        let (s, count) = (if triggers.len() == 1 { "" } else { "s" }, triggers.len());
        self.console.say(format!("# Executing {count} build trigger{s}\n")).await;
        Ok(Dockerfile::triggers(&name, &triggers)?)
    }

    async fn announce(&mut self, text: &str) {
        let first = text.lines().next().unwrap_or_default();
        self.console.say(format!("Step {}/{} : {first}", self.step, self.build.steps())).await;
        self.step += 1;
        self.console.say("\n").await;
    }

    async fn say_image(&self) {
        let short = self.image.as_deref().map(short).unwrap_or_default();
        self.console.say(format!(" ---> {short}\n")).await;
    }

    async fn dispatch(&mut self, instruction: &Instruction) -> Result<(), BuildError> {
        let done = match &instruction.command {
            Command::Copy(copy) => transfer::transfer(self, "COPY", copy, &instruction.text).await,
            Command::Add(add) => transfer::transfer(self, "ADD", add, &instruction.text).await,
            Command::Run(command) => run::run(self, command, &instruction.text).await,
            other => metadata::apply(self, other, &instruction.text).await,
        };
        done.map_err(|e| match e {
            // The step was shown just now, and clients look for this message.
            failed @ BuildError::Command { .. } => failed,
            BuildError::Other(e) => {
                let located = place(self.build.file, instruction, e.message());
                BuildError::Other(Error::new(e.kind(), located.message().to_owned()))
            }
        })
    }

    /// The value of a variable in this place.
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        self.config.variable(name).map(str::to_owned).or_else(|| self.args.get(name))
    }

    /// A word with its variables expanded.
    pub(crate) fn word(&self, text: &str) -> Result<String> {
        self.expander.word(text, &|name: &str| self.variable(name)).map_err(Error::invalid)
    }

    /// The result under a key, if there is one that can be used; it then is the stage's image.
    pub(crate) async fn take_cached(&mut self, key: &str) -> bool {
        if self.build.options.no_cache {
            return false;
        }
        let backend = self.build.backend;
        let Some(found) = self.build.cache.find(key, |image| backend.image(image).is_some()) else { return false };
        self.image = Some(found);
        self.console.say(" ---> Using cache\n").await;
        self.say_image().await;
        true
    }

    /// The layer under a key, if there is one, put on the stage's image. `key` is what the result is kept under.
    pub(crate) async fn take_linked(&mut self, layer: &str, key: &str, text: &str) -> Result<bool> {
        if self.build.options.no_cache {
            return Ok(false);
        }
        let backend = self.build.backend;
        let Some(found) = self.build.cache.find(layer, |image| backend.image(image).is_some()) else {
            return Ok(false);
        };
        let step = self.describe(Action::None, String::new());
        let Some(image) = backend.graft(step, &found).await? else { return Ok(false) };
        self.console.say(" ---> Using cache\n").await;
        self.build.cache.keep(key, &image, self.image.as_deref(), text);
        self.image = Some(image);
        self.say_image().await;
        Ok(true)
    }

    fn describe(&self, action: Action, created_by: String) -> Step {
        Step {
            parent: self.image.clone(),
            action,
            config: self.config.clone(),
            author: self.author.clone(),
            created_by,
            created: self.build.created,
        }
    }

    /// Takes the result under a key, or makes it. `text` is the instruction for people.
    pub(crate) async fn step(
        &mut self,
        key: String,
        action: Action,
        created_by: String,
        text: &str,
    ) -> Result<(), BuildError> {
        if self.take_cached(&key).await {
            return Ok(());
        }
        let step = self.describe(action, created_by);
        let options = self.build.options;
        let backend = self.build.backend;
        let imported = if options.import && !options.no_cache { backend.imported(&step).await } else { None };
        let image = match imported {
            Some(image) => {
                self.console.say(" ---> Using cache\n").await;
                image
            }
            None => backend.carry_out(step, &self.console).await?,
        };
        self.build.cache.keep(&key, &image, self.image.as_deref(), text);
        self.image = Some(image);
        self.say_image().await;
        Ok(())
    }
}

/// The first twelve digits of an id.
fn short(id: &str) -> &str {
    let hex = id.strip_prefix("sha256:").unwrap_or(id);
    hex.get(..12).unwrap_or(hex)
}
