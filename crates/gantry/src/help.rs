//! The texts of `--help`.

use std::fmt::Write as _;

use crate::options::OPTIONS;
use crate::personality::Personality;

/// `gantry --help`.
pub(crate) fn commands() -> String {
    "Usage: gantry COMMAND\n\n\
     A container engine that serves the Docker Engine API.\n\n\
     Commands:\n  \
       daemon      Run the engine; see 'gantry daemon --help'\n  \
       check       Show what this kernel and these privileges allow\n  \
       verify      Read every image and say what is damaged; see 'gantry verify --help'\n  \
       version     Show the version\n\n\
     Called by the name dockerd, gantry is 'gantry daemon'.\n"
        .to_owned()
}

/// `gantry daemon --help`: what means something here. What else dockerd accepts is accepted too.
pub(crate) fn daemon(personality: Personality) -> String {
    let name = match personality {
        Personality::Gantry => "gantry daemon",
        Personality::Dockerd => "dockerd",
    };
    let mut text = format!("Usage: {name} [OPTIONS]\n\nRun the engine.\n\nOptions:\n");
    for opt in OPTIONS.iter().filter(|opt| !opt.flag.is_empty() && !opt.help.is_empty()) {
        let short = opt.short.map_or("    ".to_owned(), |short| format!("-{short}, "));
        let spelled = format!("{short}--{} {}", opt.flag, opt.shape.placeholder());
        let later = match opt.standing {
            crate::options::Standing::Unserved | crate::options::Standing::Protective => " (no effect yet)",
            _ => "",
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {spelled:<38} {}{later}", opt.help);
    }
    let _ = write!(
        text,
        "\nConfiguration file: {}. Every other flag of dockerd is accepted and named in the log.\n",
        personality.config_file()
    );
    text
}
