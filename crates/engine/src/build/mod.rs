//! `POST /build`: the builder's steps carried out with this engine's images, containers and files.
//!
//! A build keeps what it needs below `<data-root>/build`: files of the context without a name, layers that are being
//! made in `tmp`, which a starting daemon empties, and cache mounts in `mounts`. A command runs in an ordinary container
//! whose record says that it is a build's, so that a daemon that finds one removes it. An image exists from the moment
//! its record is durable, as everywhere; a build that was cut short leaves the images of the steps that were done, which
//! the next build of the same file takes from the cache.

mod backend;
mod base;
mod context;
mod copy;
mod files;
mod finish;
mod git;
mod imported;
mod options;
mod output;
mod prune;
mod remote;
mod run;
mod run_mounts;
mod scratch;
mod spool;
mod squash;

pub use context::BuildContext;
pub use options::ImageBuild;
pub use prune::BuildPrune;
pub(crate) use run_mounts::CacheMounts;
pub(crate) use scratch::sweep;

use crate::operation::{Operation, Reporter};
use crate::{Engine, blocking};
use backend::Builder;
use gantry_api_types::{ErrorDetail, ProgressMessage};
use gantry_image_builder::{self as builder, BuildError, Built};
use gantry_model::{Error, Result};
use output::Output;
use std::sync::Arc;

impl Engine {
    /// Begins a build. What is wrong with the request or the Dockerfile is the request's failure.
    pub fn image_build(&self, context: BuildContext, request: ImageBuild) -> Result<Operation> {
        let engine = self.arc();
        let names = finish::names(&request.tags)?;
        Ok(Operation::start(|reporter| async move {
            let quiet = request.quiet;
            let (tell_id, outputs) = (request.tell_id && !quiet, request.outputs.clone());
            let last = finish::LastLines { names, quiet, tell_id, outputs };
            let output = Output::new(if quiet { Reporter::unread() } else { reporter.clone() }, quiet);
            let built = engine.build(context, request, &output).await;
            match built {
                Ok(built) => engine.finish_build(&built, &last, &reporter, &output).await,
                Err(e) => {
                    output.tell_all(&reporter).await;
                    failed(e, &reporter)
                }
            }
        }))
    }

    async fn build(
        self: &Arc<Self>,
        context: BuildContext,
        request: ImageBuild,
        output: &Output,
    ) -> Result<Built, BuildError> {
        let (file, context, request) = {
            let engine = self.clone();
            blocking(move || {
                let prepared = context.prepare(&request)?;
                engine.build_dir()?;
                Ok::<_, Error>((prepared.0, prepared.1, request))
            })
            .await?
        };
        let options = request.builder_options();
        let squash = request.squash.then(|| request.is_repeatable());
        let builder = Builder::new(self.clone(), context, request, output.reporter().clone());
        let mut built = builder::build(&builder, &self.build_cache, &file, &options, Box::new(output.clone())).await?;
        if let Some(repeatable) = squash {
            built.image = self.squash(&built, repeatable).await?;
        }
        Ok(built)
    }
}

/// How a build's failure is told. That of a command has its status beside the message.
fn failed(error: BuildError, reporter: &Reporter) -> Result<()> {
    match error {
        BuildError::Other(e) => Err(e),
        BuildError::Command { code, message } => {
            reporter.tell(ProgressMessage {
                error_detail: Some(ErrorDetail { code, message: message.clone() }),
                error: message,
                ..ProgressMessage::default()
            });
            Ok(())
        }
    }
}
