//! A whole file: global arguments and stages.

use super::from::From;
use super::instruction::{self, Parsed};
use super::lines::{self, Line};
use super::{Command, DockerfileError, Instruction, MAX_SIZE};

/// A file that was read. What its variables are is not known yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dockerfile {
    /// What the client calls it.
    pub file: String,
    /// The character that escapes.
    pub escape: char,
    /// `ARG`s before the first stage, for the `FROM`s.
    pub globals: Vec<Instruction>,
    /// The stages, at least one.
    pub stages: Vec<Stage>,
}

/// A stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// What it begins with: an image, an earlier stage or `scratch`.
    pub image: String,
    /// `--platform`
    pub platform: Option<String>,
    /// Its name, in lower case.
    pub name: Option<String>,
    /// Where its `FROM` is.
    pub line: usize,
    /// How that is written.
    pub text: String,
    /// What it does.
    pub instructions: Vec<Instruction>,
}

impl Dockerfile {
    /// Reads a file.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, DockerfileError> {
        let whole = |message: String| DockerfileError { file: file.to_owned(), line: 0, text: String::new(), message };
        if bytes.len() > MAX_SIZE {
            return Err(whole(format!("the Dockerfile ({file}) is larger than {MAX_SIZE} bytes")));
        }
        let text = String::from_utf8_lossy(bytes);
        if text.contains('\0') {
            return Err(whole(format!("the Dockerfile ({file}) is not a text file")));
        }
        let (directives, lines) = lines::split(file, &text)?;
        if lines.is_empty() {
            return Err(whole(format!("the Dockerfile ({file}) cannot be empty")));
        }
        let mut read =
            Self { file: file.to_owned(), escape: directives.escape, globals: Vec::new(), stages: Vec::new() };
        for line in lines {
            let (number, text) = (line.number, line.text.clone());
            read.add(line).map_err(|message| DockerfileError { file: file.to_owned(), line: number, text, message })?;
        }
        if read.stages.is_empty() {
            return Err(whole("no build stage in current context".to_owned()));
        }
        Ok(read)
    }

    /// Reads the instructions that a base image brings along.
    pub fn triggers(image: &str, instructions: &[String]) -> Result<Vec<Instruction>, DockerfileError> {
        let mut commands = Vec::new();
        for text in instructions {
            let fail = |message: String| DockerfileError {
                file: format!("ONBUILD of {image}"),
                line: 1,
                text: text.clone(),
                message,
            };
            let (directives, lines) = lines::split("ONBUILD", text)?;
            for line in lines {
                let text = line.text.clone();
                match instruction::parse(line, directives.escape).map_err(fail)? {
                    Parsed::Command(Command::OnBuild(_)) => {
                        return Err(fail("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed".to_owned()));
                    }
                    Parsed::Command(command) => commands.push(Instruction { command, line: 0, text }),
                    Parsed::From(_) => return Err(fail("FROM isn't allowed as an ONBUILD trigger".to_owned())),
                }
            }
        }
        Ok(commands)
    }

    fn add(&mut self, line: Line) -> Result<(), String> {
        let (number, text) = (line.number, line.text.clone());
        match instruction::parse(line, self.escape)? {
            Parsed::From(From { image, platform, name }) => {
                if let Some(name) = &name
                    && self.stages.iter().any(|stage| stage.name.as_ref() == Some(name))
                {
                    return Err(format!("duplicate name {name}"));
                }
                self.stages.push(Stage { image, platform, name, line: number, text, instructions: Vec::new() });
            }
            Parsed::Command(command) => {
                let instruction = Instruction { command, line: number, text };
                match (self.stages.last_mut(), &instruction.command) {
                    (Some(stage), _) => stage.instructions.push(instruction),
                    (None, Command::Arg(_)) => self.globals.push(instruction),
                    (None, _) => return Err("no build stage in current context".to_owned()),
                }
            }
        }
        Ok(())
    }

    /// The stage that a `target` parameter means.
    pub fn target(&self, target: &str) -> Option<usize> {
        if target.is_empty() {
            return Some(self.stages.len() - 1);
        }
        self.stage_before(self.stages.len(), target)
    }

    /// The stage before `end` that a `FROM` or `--from` means by name; by number if that is one.
    pub fn stage_before(&self, end: usize, name: &str) -> Option<usize> {
        let name = name.to_ascii_lowercase();
        let named = self.stages[..end].iter().position(|stage| stage.name.as_deref() == Some(&name));
        named.or_else(|| name.parse().ok().filter(|number| *number < end))
    }
}

impl Stage {
    /// The names after every `--from` and `from=`.
    pub fn sources(&self) -> impl Iterator<Item = &str> {
        self.instructions.iter().flat_map(|instruction| instruction.command.sources())
    }
}

impl Command {
    /// The names after `--from` and `from=`.
    pub fn sources(&self) -> Vec<&str> {
        match self {
            Self::Copy(transfer) | Self::Add(transfer) => transfer.from.as_deref().into_iter().collect(),
            Self::Run(run) => run.mounts.iter().filter_map(super::MountText::from).collect(),
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dockerfile::{Form, Run, Transfer};

    fn parse(text: &str) -> Result<Dockerfile, DockerfileError> {
        Dockerfile::parse("Dockerfile", text.as_bytes())
    }

    fn only(text: &str) -> Command {
        let file = parse(&format!("FROM x\n{text}")).unwrap_or_else(|e| panic!("{text}: {e}"));
        file.stages[0].instructions[0].command.clone()
    }

    #[test]
    fn stages_and_globals() {
        let file =
            parse("ARG V=1\nFROM --platform=linux/amd64 a:$V AS Build\nRUN x\nfrom build\nCOPY --from=build a b")
                .unwrap();
        assert_eq!(file.globals.len(), 1);
        assert_eq!(file.stages[0].name.as_deref(), Some("build"));
        assert_eq!(file.stages[0].platform.as_deref(), Some("linux/amd64"));
        assert_eq!(file.stages[1].sources().collect::<Vec<_>>(), ["build"]);
        assert_eq!(
            (file.target(""), file.target("BUILD"), file.target("0"), file.target("x")),
            (Some(1), Some(0), Some(0), None)
        );
        assert_eq!(file.stage_before(0, "build"), None);
    }

    #[test]
    fn instructions() {
        assert!(
            matches!(only("RUN [\"a\", \"b\"]"), Command::Run(Run { command: Form::Exec(l), .. }) if l == ["a", "b"])
        );
        assert!(matches!(only("RUN a && b"), Command::Run(Run { command: Form::Shell(t), .. }) if t == "a && b"));
        let run = only("RUN --mount=type=cache,target=/c --network=none x");
        assert!(matches!(run, Command::Run(r) if r.mounts.len() == 1 && r.network == crate::dockerfile::Network::None));
        assert_eq!(only("CMD"), Command::Cmd(Form::Shell(String::new())));
        assert_eq!(only("ENTRYPOINT []"), Command::Entrypoint(Form::Exec(vec![])));
        assert_eq!(only("ARG a b=c"), Command::Arg(vec![("a".into(), None), ("b".into(), Some("c".into()))]));
        assert_eq!(only("VOLUME /a /b"), Command::Volume(vec!["/a".into(), "/b".into()]));
        assert_eq!(only("expose 80 $p"), Command::Expose(vec!["80".into(), "$p".into()]));
        assert_eq!(only("ONBUILD RUN x"), Command::OnBuild("RUN x".into()));
        let Command::Copy(copy) = only("COPY --chown=1:2 --chmod=755 --link --parents --exclude=a --exclude=b s t d/")
        else {
            panic!()
        };
        assert_eq!(copy.sources, ["s", "t"]);
        assert!(copy.link && copy.parents && copy.exclude == ["a", "b"] && copy.destination == "d/");
        let Command::Add(add) = only("ADD --checksum=sha256:1 http://x/y /z") else { panic!() };
        assert_eq!(add.checksum.as_deref(), Some("sha256:1"));
        let Command::Copy(Transfer { sources, documents, .. }) = only("COPY a <<E /b\ntext\nE") else { panic!() };
        assert_eq!((sources.len(), documents[0].content.as_str()), (1, "text\n"));
    }

    #[test]
    fn mistakes_name_their_place() {
        for (text, line, message) in [
            ("FORM x", 1, "unknown instruction: FORM (did you mean FROM?)"),
            ("FROM x\n\nRUN", 3, "RUN requires at least one argument"),
            ("FROM", 1, "FROM requires either one argument, or three: FROM <source> [AS <name>]"),
            ("FROM a b", 1, "FROM requires either one argument, or three: FROM <source> [AS <name>]"),
            (
                "FROM a AS 1x",
                1,
                "invalid name for build stage: \"1x\", name can't start with a number or contain symbols",
            ),
            ("FROM a AS b\nFROM a AS B", 2, "duplicate name b"),
            ("RUN x", 1, "no build stage in current context"),
            (
                "FROM x\nCOPY a",
                2,
                "COPY requires at least two arguments, but only one was provided. Destination could not be determined",
            ),
            ("FROM x\nCOPY --nope a b", 2, "Unknown flag: nope"),
            ("FROM x\nADD --from=y a b", 2, "Unknown flag: from"),
            ("FROM x\nENV a", 2, "ENV must have two arguments"),
            ("FROM x\nSHELL sh", 2, "SHELL requires the arguments to be in JSON form"),
            ("FROM x\nONBUILD ONBUILD RUN x", 2, "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
            ("FROM x\nONBUILD FROM y", 2, "FROM isn't allowed as an ONBUILD trigger"),
            ("FROM x\nRUN --security=lax y", 2, "security \"lax\" is not valid"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!((error.line, error.message.as_str()), (line, message), "{text}");
        }
        let error = parse("FROM x\nFOO bar").unwrap_err().to_string();
        assert!(error.ends_with("\nDockerfile:2: FOO bar"), "{error}");
        assert_eq!(parse("# nothing").unwrap_err().message, "the Dockerfile (Dockerfile) cannot be empty");
        assert_eq!(parse("ARG x").unwrap_err().message, "no build stage in current context");
        assert!(parse("FROM x\0").is_err());
    }

    #[test]
    fn triggers_are_read_alone() {
        let triggers = Dockerfile::triggers("base", &["COPY . /x".into(), "RUN <<E\ny\nE".into()]).unwrap();
        assert_eq!(triggers.len(), 2);
        assert!(Dockerfile::triggers("base", &["FROM x".into()]).is_err());
    }
}
