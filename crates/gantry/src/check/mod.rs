//! `gantry check`: what this kernel and these privileges allow, each with what it costs when it is
//! missing. Everything is tried, not guessed from version numbers, and nothing stays behind.

mod cgroups;
mod kernel;
mod network;
mod overlay;
mod privileges;

use std::process::ExitCode;

/// How a thing turned out.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    /// It is there; the text says more.
    Present(String),
    /// It is not, and Gantry runs without it; the text says what is lost.
    Absent(String),
    /// It is not, and Gantry cannot run containers without it.
    Fatal(String),
}

/// One line of the answer.
#[derive(Debug)]
struct Finding {
    what: String,
    verdict: Verdict,
}

impl Finding {
    fn present(what: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { what: what.into(), verdict: Verdict::Present(detail.into()) }
    }

    fn absent(what: impl Into<String>, cost: impl Into<String>) -> Self {
        Self { what: what.into(), verdict: Verdict::Absent(cost.into()) }
    }

    fn fatal(what: impl Into<String>, cost: impl Into<String>) -> Self {
        Self { what: what.into(), verdict: Verdict::Fatal(cost.into()) }
    }
}

/// Prints every finding. The status is failure if containers cannot run at all.
pub(crate) fn run() -> ExitCode {
    let mut findings = Vec::new();
    findings.extend(privileges::look());
    findings.extend(kernel::look());
    findings.push(overlay::look());
    findings.extend(cgroups::look());
    findings.extend(network::look());
    for finding in &findings {
        println!("{}", line(finding));
    }
    let count = |wanted: fn(&Verdict) -> bool| findings.iter().filter(|finding| wanted(&finding.verdict)).count();
    let fatal = count(|verdict| matches!(verdict, Verdict::Fatal(_)));
    let absent = count(|verdict| matches!(verdict, Verdict::Absent(_)));
    if fatal > 0 {
        println!("\nContainers cannot run here: {fatal} of the above is needed.");
        return ExitCode::FAILURE;
    }
    if absent > 0 {
        println!("\nContainers can run here, without what the {absent} missing lines name.");
    } else {
        println!("\nContainers can run here, and nothing is missing.");
    }
    ExitCode::SUCCESS
}

fn line(finding: &Finding) -> String {
    let (word, text) = match &finding.verdict {
        Verdict::Present(text) => ("ok", text),
        Verdict::Absent(text) => ("missing", text),
        Verdict::Fatal(text) => ("NEEDED", text),
    };
    format!("{word:<8} {:<24} {text}", finding.what).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_columns() {
        assert_eq!(line(&Finding::present("pidfd", "")), "ok       pidfd");
        assert_eq!(line(&Finding::absent("CAP_X", "no x")), "missing  CAP_X                    no x");
        assert!(line(&Finding::fatal("root", "needed")).starts_with("NEEDED   root"));
    }

    /// Looking must work for everybody and leave nothing behind, whatever is missing.
    #[test]
    fn looking_never_fails() {
        let mounts = || std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default().lines().count();
        let before = mounts();
        assert!(privileges::look().len() + kernel::look().len() + cgroups::look().len() + network::look().len() > 20);
        overlay::look();
        assert_eq!(mounts(), before);
    }
}
