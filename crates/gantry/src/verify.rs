//! `gantry verify`: whether the images of a data-root are what they should be, and where not.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use gantry_engine::verify::{Finding, Severity, Subject, VerifyOptions, VerifyReport, VerifyStep, verify_images};

use crate::options;
use crate::personality::Personality;
use crate::pidfile::RootLock;
use crate::settings::Settings;

/// Something is damaged, or could not be looked at.
const UNSOUND: u8 = 1;
/// Nothing could be looked at.
const CANNOT: u8 = 2;

/// Flags of the daemon that say where its state is.
const PLACE: [&str; 2] = ["data-root", "config-file"];

/// Runs the command; an error is that nothing could be looked at.
pub(crate) fn run(args: &[String]) -> ExitCode {
    match verify(args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("gantry verify: {error:#}");
            ExitCode::from(CANNOT)
        }
    }
}

fn verify(args: &[String]) -> Result<ExitCode> {
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    if has("--help") || has("-h") {
        print!("{HELP}");
        return Ok(ExitCode::SUCCESS);
    }
    let place: Vec<String> =
        args.iter().filter(|arg| !matches!(arg.as_str(), "--repair" | "--json")).cloned().collect();
    let given = options::parse(&place)?;
    if let Some(other) = given.keys().find(|flag| !PLACE.contains(flag)) {
        bail!("--{other} says nothing about where the data-root is\nSee 'gantry verify --help'.");
    }
    let root = Settings::load(&given, Personality::Gantry)?.data_root();
    let root = root.canonicalize().with_context(|| format!("the data-root {}", root.display()))?;
    // A daemon may change anything at any time; what is read beside it would be wrong by then.
    let _lock = RootLock::take_now(&root)?;
    let report = verify_images(&root, VerifyOptions { repair: has("--repair") }, &mut progress())?;
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K");
    }
    if has("--json") {
        print_json(&report);
    } else {
        print(&report);
    }
    Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::from(UNSOUND) })
}

const HELP: &str = "Usage: gantry verify [OPTIONS]\n\n\
    Read every image and layer below the data-root and say what is wrong with it. The daemon must not run; containers \
    may.\n\n\
    Options:\n  \
      --data-root string    Directory of persistent state\n  \
      --config-file string  Configuration file that names it\n  \
      --repair              Put right what can be; the next pull fetches damaged blobs again\n  \
      --json                Print one object of JSON\n\n\
    Exit status: 0 when everything is sound, 1 when something is damaged or could not be read, 2 when nothing could be \
    looked at.\n";

/// A line that is written over and over, for those who watch.
fn progress() -> impl FnMut(VerifyStep) {
    let shown = std::io::stderr().is_terminal();
    move |step| {
        if shown {
            let (what, done, total) = match step {
                VerifyStep::Blob { done, total, .. } => ("blob", done, total),
                VerifyStep::Layer { done, total, .. } => ("layer", done, total),
            };
            eprint!("\r\x1b[K{what} {} of {total}", done + 1);
            let _ = std::io::stderr().flush();
        }
    }
}

fn print(report: &VerifyReport) {
    for finding in &report.findings {
        println!("{}", line(finding));
    }
    let VerifyReport { images, blobs, bytes, layers, findings } = report;
    println!("{images} images, {blobs} blobs with {bytes} bytes, {layers} layers: {}", verdict(findings));
}

fn line(finding: &Finding) -> String {
    let repaired = if finding.repaired { " (repaired)" } else { "" };
    format!("{:<9} {finding}{repaired}", severity(finding.severity))
}

fn verdict(findings: &[Finding]) -> String {
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let (damaged, unchecked) = (count(Severity::Damage), count(Severity::Unchecked));
    match (damaged, unchecked, count(Severity::Leftover)) {
        (0, 0, 0) => "everything is sound".to_owned(),
        (0, 0, left) => format!("everything is sound; {left} leftovers, which the daemon removes when it starts"),
        (damaged, unchecked, _) => format!("{damaged} damaged, {unchecked} could not be checked"),
    }
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Damage => "damage",
        Severity::Unchecked => "unchecked",
        Severity::Leftover => "leftover",
    }
}

fn print_json(report: &VerifyReport) {
    let findings: Vec<serde_json::Value> = report.findings.iter().map(json).collect();
    let VerifyReport { images, blobs, bytes, layers, .. } = report;
    let sound = report.is_sound();
    println!(
        "{}",
        serde_json::json!({
            "sound": sound, "images": images, "blobs": blobs, "bytes": bytes, "layers": layers, "findings": findings,
        })
    );
}

fn json(finding: &Finding) -> serde_json::Value {
    let (kind, name) = match &finding.subject {
        Subject::Blob(digest) => ("blob", digest.to_string()),
        Subject::Image(id) => ("image", id.to_string()),
        Subject::Layer(diff_id) => ("layer", diff_id.to_string()),
        Subject::Name(name) => ("name", name.clone()),
        Subject::File(path) => ("file", path.clone()),
    };
    serde_json::json!({
        "kind": kind, "name": name, "severity": severity(finding.severity), "what": finding.what,
        "repaired": finding.repaired,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(severity: Severity, repaired: bool) -> Finding {
        Finding { subject: Subject::Name("a:1".to_owned()), severity, what: "it is gone".to_owned(), repaired }
    }

    #[test]
    fn findings_in_words() {
        assert_eq!(line(&finding(Severity::Damage, true)), "damage    name a:1: it is gone (repaired)");
        assert_eq!(json(&finding(Severity::Leftover, false))["severity"], "leftover");
        assert_eq!(verdict(&[]), "everything is sound");
        assert!(verdict(&[finding(Severity::Leftover, false)]).starts_with("everything is sound; 1 leftovers"));
        let both = [finding(Severity::Damage, false), finding(Severity::Unchecked, false)];
        assert_eq!(verdict(&both), "1 damaged, 1 could not be checked");
    }
}
