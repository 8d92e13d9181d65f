//! Dockerfile instructions that change an image's configuration, as `import` and `commit` take them.
//!
//! Forms, expansion of variables and error texts are those of the reference engine's classic builder.

mod error;
mod health;
mod instruction;
mod ports;
mod words;

use crate::ImageConfig;
pub(crate) use error::ChangeError;
use gantry_model::Result;

/// Applies instructions to a configuration. Each text may have several lines.
pub(crate) fn apply(changes: &[String], mut config: ImageConfig) -> Result<ImageConfig> {
    if changes.is_empty() {
        return Ok(config);
    }
    let lines = logical_lines(&changes.join("\n"));
    if lines.is_empty() {
        return Err(ChangeError::Empty.into());
    }
    let instructions: Vec<_> = lines.iter().map(|line| instruction::parse(line)).collect::<Result<_, _>>()?;
    let mut cmd_set = false;
    for instruction in &instructions {
        instruction.apply(&mut config, &mut cmd_set)?;
    }
    Ok(config)
}

/// Lines without comments and empty ones, continued lines joined.
fn logical_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut open: Option<String> = None;
    for line in text.lines() {
        let start = line.trim_start();
        if start.is_empty() || start.starts_with('#') {
            continue;
        }
        let (part, continues) = match line.trim_end_matches([' ', '\t']).strip_suffix('\\') {
            Some(part) => (part, true),
            None => (line, false),
        };
        let mut whole = open.take().unwrap_or_default();
        whole.push_str(if whole.is_empty() { part.trim_start() } else { part });
        if continues {
            open = Some(whole);
        } else {
            lines.push(whole.trim_end().to_owned());
        }
    }
    lines.extend(open);
    lines.retain(|line| !line.trim().is_empty());
    lines
}

#[cfg(test)]
mod tests;
