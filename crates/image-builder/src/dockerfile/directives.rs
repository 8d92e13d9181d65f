//! Parser directives: comments before everything else that change how the rest is read.

use super::Text;

/// What the directives say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Directives {
    /// The character that escapes the next one and continues lines.
    pub(super) escape: char,
}

impl Directives {
    /// Reads the directives; an error with the line it is in. They end with the first line that is none. `syntax` and
    /// `check` are known words: the language read here is the newest, so that any frontend's name is fine.
    pub(super) fn read(text: &str) -> Result<Self, (usize, String)> {
        let mut found = Self { escape: '\\' };
        let mut seen = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let line = if at == 0 { line.trim_start_matches('\u{feff}') } else { line };
            // Editors and kernels may read a first line of their own.
            if at == 0 && line.starts_with("#!") {
                continue;
            }
            let Some((name, value)) = directive(line) else { break };
            if !matches!(name.as_str(), "escape" | "syntax" | "check") {
                break;
            }
            if seen.contains(&name) {
                return Err((at + 1, format!("only one {name} parser directive can be used")));
            }
            if name == "escape" {
                found.escape = escape(value).map_err(|e| (at + 1, e))?;
            }
            seen.push(name);
        }
        Ok(found)
    }
}

fn directive(line: &str) -> Option<(String, &str)> {
    let (name, value) = line.trim_start().strip_prefix('#')?.split_once('=')?;
    let name = name.trim();
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(|c| c.is_ascii_alphanumeric());
    plain.then(|| (name.to_ascii_lowercase(), value.trim()))
}

fn escape(value: &str) -> Text<char> {
    match value {
        "\\" => Ok('\\'),
        "`" => Ok('`'),
        other => Err(format!("invalid escape token '{other}' does not match ` or \\")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_at_the_top_and_once() {
        let escape = |text: &str| Directives::read(text).map(|d| d.escape);
        assert_eq!(escape("# escape = `\nFROM x"), Ok('`'));
        assert_eq!(escape("#syntax=docker/dockerfile:1\n#ESCAPE=`\n"), Ok('`'));
        assert_eq!(escape("\u{feff}# escape=`"), Ok('`'));
        assert_eq!(escape("#!/usr/bin/env x\n# escape=`"), Ok('`'));
        for late in
            ["\n# escape=`", "FROM x\n# escape=`", "# a comment\n# escape=`", "# other=1\n# escape=`", "# escape"]
        {
            assert_eq!(escape(late), Ok('\\'), "{late:?}");
        }
        assert_eq!(escape("# escape=`\n# escape=\\").unwrap_err().0, 2);
        assert!(escape("# escape=x").unwrap_err().1.contains("'x'"));
    }
}
