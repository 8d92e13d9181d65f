//! `gantry`: the daemon's program. Reads the command line and hands over.

mod check;
mod daemon;
mod engine_config;
mod help;
mod listen;
mod log;
mod notify;
mod options;
mod personality;
mod pidfile;
mod registries;
mod remap;
mod serve;
mod settings;
mod signals;
mod verify;

use std::process::ExitCode;

use personality::Personality;
use settings::Settings;

/// musl's allocator maps and unmaps every larger buffer and takes one lock for all threads: a list of
/// 100 containers takes 2.7 ms of processor time with it and 1.0 ms with this one. Without the
/// feature `no_thp` it would ask for huge pages, and an idle daemon would have 8 MB more.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The commit this was built from, for `--version` and the API.
const COMMIT: &str = env!("GANTRY_COMMIT");

fn main() -> ExitCode {
    let mut args = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned());
    let program = args.next().unwrap_or_default();
    if program == gantry_log_drivers::process::NAME {
        return gantry_log_drivers::process::run();
    }
    let personality = Personality::of(&program);
    let args: Vec<String> = args.collect();
    match run(personality, &args) {
        Ok(code) => code,
        Err(error) => {
            // dockerd's exit status for a start that failed is 1 as well.
            eprintln!(
                "{}: {error:#}",
                if personality == Personality::Dockerd { "failed to start daemon" } else { "gantry" }
            );
            ExitCode::FAILURE
        }
    }
}

fn run(personality: Personality, args: &[String]) -> anyhow::Result<ExitCode> {
    if personality == Personality::Dockerd {
        return start(personality, args);
    }
    match args.split_first().map(|(word, rest)| (word.as_str(), rest)) {
        Some(("daemon", rest)) => start(personality, rest),
        Some(("check", [])) => Ok(check::run()),
        Some(("check", [extra, ..])) => anyhow::bail!("check takes no arguments, but got {extra:?}"),
        Some(("verify", rest)) => Ok(verify::run(rest)),
        Some(("--version" | "-v" | "version", _)) => {
            println!("{}", version());
            Ok(ExitCode::SUCCESS)
        }
        None | Some(("--help" | "-h" | "help", _)) => {
            print!("{}", help::commands());
            Ok(ExitCode::SUCCESS)
        }
        Some((other, _)) => anyhow::bail!("unknown command {other:?}\nSee 'gantry --help'."),
    }
}

fn start(personality: Personality, args: &[String]) -> anyhow::Result<ExitCode> {
    if args.iter().any(|arg| arg == "--help" || arg == "-h") {
        print!("{}", help::daemon(personality));
        return Ok(ExitCode::SUCCESS);
    }
    if args.iter().any(|arg| arg == "--version" || arg == "-v") {
        println!("{}", version());
        return Ok(ExitCode::SUCCESS);
    }
    let given = options::parse(args)?;
    let settings = Settings::load(&given, personality)?;
    if given.get("validate").is_some_and(|value| value == true) {
        engine_config::check(&settings)?;
        eprintln!("configuration OK");
        return Ok(ExitCode::SUCCESS);
    }
    daemon::run(settings, &given, personality)
}

fn version() -> String {
    format!("Gantry version {}, build {COMMIT}", env!("CARGO_PKG_VERSION"))
}
