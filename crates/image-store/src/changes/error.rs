//! What can be wrong with a change, in the reference engine's words.

use gantry_model::Error;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ChangeError {
    #[error("file with no instructions")]
    Empty,
    #[error("{0} is not a valid change command")]
    NotAllowed(String),
    #[error("{0} requires at least one argument")]
    AtLeastOne(&'static str),
    #[error("{0} requires exactly one argument")]
    ExactlyOne(&'static str),
    #[error("{0} must have two arguments")]
    TwoArguments(&'static str),
    #[error("{0} names can not be blank")]
    BlankName(&'static str),
    #[error("Syntax error - can't find = in {0:?}. Must be of the form: name=value")]
    NoEquals(String),
    #[error("Unknown flag: {0}")]
    UnknownFlag(String),
    #[error("Missing a value on flag: {0}")]
    FlagValue(String),
    #[error("Duplicate flag specified: {0}")]
    DuplicateFlag(String),
    #[error("when using JSON array syntax, arrays must be comprised of strings only")]
    NotStrings,
    #[error("SHELL requires the arguments to be in JSON form")]
    ShellNotJson,
    #[error("VOLUME specified can not be an empty string")]
    EmptyVolume,
    #[error("Invalid containerPort: {0}")]
    Port(String),
    #[error("Invalid proto: {0}")]
    Protocol(String),
    #[error("Invalid signal: {0}")]
    Signal(String),
    #[error("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")]
    OnBuildOnBuild,
    #[error("{0} isn't allowed as an ONBUILD trigger")]
    OnBuildTrigger(String),
    #[error("HEALTHCHECK NONE takes no arguments")]
    HealthNone,
    #[error("Missing command after HEALTHCHECK CMD")]
    HealthCommand,
    #[error("Unknown type {0:?} in HEALTHCHECK (try CMD)")]
    HealthType(String),
    #[error("--retries must be at least 1 (not {0})")]
    Retries(i64),
    #[error("strconv.ParseInt: parsing {0:?}: invalid syntax")]
    Number(String),
    #[error("Interval {0:?} cannot be less than 1ms")]
    ShortInterval(&'static str),
    #[error("time: missing unit in duration {0:?}")]
    DurationUnit(String),
    #[error("time: invalid duration {0:?}")]
    Duration(String),
    #[error("failed to process {0:?}: unexpected end of statement while looking for matching {1}-quote")]
    Unclosed(String, String),
    #[error("failed to process {0:?}: {1}")]
    Word(String, &'static str),
}

impl From<ChangeError> for Error {
    fn from(e: ChangeError) -> Self {
        Self::invalid(e.to_string())
    }
}
