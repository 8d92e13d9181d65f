//! A build's end: names for the image, and the last lines.

use super::files::image_id;
use super::output::{Output, tell};
use crate::operation::Reporter;
use crate::{Engine, blocking};
use gantry_api_types::ProgressMessage;
use gantry_image_builder::{Built, Sink};
use gantry_model::{Error, Reference, Result};
use serde_json::json;
use std::sync::Arc;

/// The names that a client gives, each once.
pub(super) fn names(tags: &[String]) -> Result<Vec<Reference>> {
    let mut names: Vec<Reference> = Vec::new();
    for tag in tags.iter().filter(|tag| !tag.is_empty()) {
        let name = Reference::parse(tag)?;
        if name.digest().is_some() {
            return Err(Error::invalid("build tag cannot contain a digest"));
        }
        let name = name.or_latest();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

/// How a build that succeeded ends.
pub(super) struct LastLines {
    /// The image's.
    pub(super) names: Vec<Reference>,
    /// Nothing but the id.
    pub(super) quiet: bool,
    /// The id beside the text.
    pub(super) tell_id: bool,
    /// What else the client wanted.
    pub(super) outputs: Vec<String>,
}

/// Outputs that are an image in the engine, as BuildKit calls them.
const IMAGE: [&str; 4] = ["", "docker", "image", "moby"];

impl Engine {
    /// Gives the image its names and says that the build is done.
    pub(super) async fn finish_build(
        self: &Arc<Self>,
        built: &Built,
        last: &LastLines,
        reporter: &Reporter,
        output: &Output,
    ) -> Result<()> {
        if !built.unused.is_empty() {
            let names = built.unused.join(" ");
            output.send(format!("[Warning] One or more build-args [{names}] were not consumed\n")).await;
        }
        // As in Docker, whose classic builder never looks at them; but the client should not wait for its files.
        let foreign: Vec<&str> = last.outputs.iter().map(String::as_str).filter(|kind| !IMAGE.contains(kind)).collect();
        if !foreign.is_empty() {
            let kinds = foreign.join(" ");
            output.send(format!("[Warning] Outputs [{kinds}] need BuildKit; this build made an image\n")).await;
        }
        let id = built.image.clone();
        let short = image_id(&id)?.short().to_owned();
        if last.tell_id {
            reporter.tell(ProgressMessage { aux: Some(json!({ "ID": id })), ..ProgressMessage::default() });
        }
        output.send(format!("Successfully built {short}\n")).await;
        for name in &last.names {
            let (engine, id, repo, tag) =
                (self.clone(), id.clone(), name.name(), name.tag().unwrap_or("latest").to_owned());
            blocking(move || engine.images().tag(&id, &repo, &tag)).await?;
            output.send(format!("Successfully tagged {}\n", name.familiar())).await;
        }
        if last.quiet {
            tell(reporter, format!("{id}\n")).await;
        }
        Ok(())
    }
}
