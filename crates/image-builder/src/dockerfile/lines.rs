//! Lines as they are written to lines as they are meant: continued, without comments, with their here-documents.

use super::{DockerfileError, Text, directives::Directives, expand::Expander, words};

/// One instruction, not yet understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Where it begins, from 1.
    pub number: usize,
    /// All of it, continuations joined.
    pub text: String,
    /// Its here-documents.
    pub documents: Vec<HereDoc>,
}

/// A here-document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HereDoc {
    /// What ends it, and what a file made of it is called.
    pub name: String,
    /// Its lines.
    pub content: String,
    /// Whether variables are expanded in it: its name was not quoted.
    pub expand: bool,
    /// Leading tabs are not meant (`<<-`).
    pub chomp: bool,
    /// A number before the arrows, for shells.
    pub descriptor: String,
}

impl HereDoc {
    /// The content as it is meant.
    pub fn meant(&self) -> String {
        if !self.chomp {
            return self.content.clone();
        }
        let lines = self.content.split_inclusive('\n');
        lines.map(|line| line.trim_start_matches('\t')).collect()
    }
}

/// Instructions whose words may be here-documents.
const WITH_DOCUMENTS: [&str; 3] = ["ADD", "COPY", "RUN"];

/// Splits a file into instructions.
pub(super) fn split(file: &str, text: &str) -> Result<(Directives, Vec<Line>), DockerfileError> {
    let fail = |line: usize, text: &str, message: String| DockerfileError {
        file: file.to_owned(),
        line,
        text: text.to_owned(),
        message,
    };
    let directives = Directives::read(text).map_err(|(at, message)| {
        let line = text.lines().nth(at - 1).unwrap_or_default();
        fail(at, line, message)
    })?;
    let escape = directives.escape;
    let mut lines = Vec::new();
    let mut rest = text.split_inclusive('\n').enumerate();
    while let Some((at, first)) = rest.next() {
        let first = if at == 0 { first.trim_start_matches('\u{feff}') } else { first };
        let first = first.trim_end_matches(['\n', '\r']).trim_start();
        if first.is_empty() || first.starts_with('#') {
            continue;
        }
        let (mut whole, mut more) = continued(first, escape);
        while more {
            let Some((_, next)) = rest.next() else { break };
            let next = next.trim_end_matches(['\n', '\r']);
            let start = next.trim_start();
            // Comments and, for old files, empty lines may stand within an instruction.
            if start.is_empty() || start.starts_with('#') {
                continue;
            }
            let (part, goes_on) = continued(next, escape);
            whole.push_str(&part);
            more = goes_on;
        }
        if whole.trim().is_empty() {
            continue;
        }
        let mut line = Line { number: at + 1, text: whole.trim().to_owned(), documents: Vec::new() };
        for mut document in announced(&line.text, escape).map_err(|e| fail(line.number, &line.text, e))? {
            document.content = take_document(&document, &mut rest)
                .ok_or_else(|| fail(line.number, &line.text, "unterminated heredoc".to_owned()))?;
            line.documents.push(document);
        }
        lines.push(line);
    }
    Ok((directives, lines))
}

/// The line without what continues it, and whether something does: an escape character at the end that is not itself
/// escaped.
fn continued(line: &str, escape: char) -> (String, bool) {
    let trimmed = line.trim_end_matches([' ', '\t']);
    match trimmed.strip_suffix(escape) {
        Some(before) if !before.ends_with(escape) => (before.to_owned(), true),
        _ => (line.to_owned(), false),
    }
}

fn take_document<'t>(document: &HereDoc, rest: &mut impl Iterator<Item = (usize, &'t str)>) -> Option<String> {
    let mut content = String::new();
    for (_, line) in rest {
        let mut end = line.trim_end_matches(['\n', '\r']);
        if document.chomp {
            end = end.trim_start_matches('\t');
        }
        if end == document.name {
            return Some(content);
        }
        content.push_str(line);
    }
    None
}

/// The here-documents that follow a line.
fn announced(text: &str, escape: char) -> Text<Vec<HereDoc>> {
    if !text.contains("<<") {
        return Ok(Vec::new());
    }
    let mut rest = text;
    loop {
        let (name, arguments) = words::first(rest);
        let name = name.to_ascii_uppercase();
        if name == "ONBUILD" {
            rest = arguments;
        } else if WITH_DOCUMENTS.contains(&name.as_str()) {
            rest = arguments;
            break;
        } else {
            return Ok(Vec::new());
        }
    }
    let (_, rest) = super::flags::take(rest, escape);
    if words::json_list(rest).is_some() {
        return Ok(Vec::new());
    }
    words::shell_like(rest, escape).iter().filter_map(|word| document(word, escape).transpose()).collect()
}

/// A word that announces a here-document: `[number]<<[-]name`.
pub(super) fn document(word: &str, escape: char) -> Text<Option<HereDoc>> {
    let name_at = word.trim_start_matches(|c: char| c.is_ascii_digit());
    let descriptor = word[..word.len() - name_at.len()].to_owned();
    let Some(rest) = name_at.strip_prefix("<<") else { return Ok(None) };
    let (rest, chomp) = rest.strip_prefix('-').map_or((rest, false), |rest| (rest, true));
    if rest.is_empty() || rest.contains('<') {
        return Ok(None);
    }
    let plain = Expander::new(escape).unquote(rest)?;
    if plain.is_empty() || plain.contains(char::is_whitespace) {
        return Ok(None);
    }
    let expand = plain == rest;
    Ok(Some(HereDoc { name: plain, content: String::new(), expand, chomp, descriptor }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<(usize, String)> {
        split("Dockerfile", text).unwrap().1.into_iter().map(|line| (line.number, line.text)).collect()
    }

    #[test]
    fn continuations_and_comments() {
        for (text, expected) in [
            ("FROM a\nRUN b", vec![(1, "FROM a"), (2, "RUN b")]),
            ("\n# c\n  FROM a  \r\n", vec![(3, "FROM a")]),
            ("RUN a \\\n  b", vec![(1, "RUN a   b")]),
            ("RUN a \\  \t\nb", vec![(1, "RUN a b")]),
            ("RUN a\\\\\nENV b", vec![(1, "RUN a\\\\"), (2, "ENV b")]),
            ("RUN a \\\n# comment\n  # another\n\n  b \\\nc", vec![(1, "RUN a   b c")]),
            ("RUN a # not a comment", vec![(1, "RUN a # not a comment")]),
            ("RUN a \\", vec![(1, "RUN a")]),
            ("\\\nFROM a", vec![(1, "FROM a")]),
            ("# escape=`\nRUN a `\nb \\\nRUN c", vec![(2, "RUN a b \\"), (4, "RUN c")]),
        ] {
            let expected: Vec<_> = expected.into_iter().map(|(n, t)| (n, t.to_owned())).collect();
            assert_eq!(texts(text), expected, "{text:?}");
        }
    }

    #[test]
    fn here_documents() {
        let (_, lines) =
            split("f", "RUN <<EOF\n# kept\na \\\n\nEOF\nCOPY <<-\"A\" 3<<B /x/\n\tone\n\tA\ntwo\nB\nENV a=<<C")
                .unwrap();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0].documents[0].content, "# kept\na \\\n\n");
        assert!(lines[0].documents[0].expand);
        let [a, b] = &lines[1].documents[..] else { panic!("{:?}", lines[1]) };
        assert_eq!((a.name.as_str(), a.expand, a.chomp, a.meant().as_str()), ("A", false, true, "one\n"));
        assert_eq!((b.name.as_str(), b.descriptor.as_str(), b.content.as_str()), ("B", "3", "two\n"));
        assert!(lines[2].documents.is_empty());
        for none in ["RUN [\"a\", \"<<EOF\"]", "RUN echo $((1<<2))", "RUN a << b", "RUN cat <<<x", "RUN echo 'a <<EOF'"]
        {
            assert!(split("f", none).unwrap().1[0].documents.is_empty(), "{none}");
        }
        let error = split("f", "FROM a\nRUN <<EOF\nx").unwrap_err();
        assert_eq!((error.line, error.message.as_str()), (2, "unterminated heredoc"));
        let (_, onbuild) = split("f", "ONBUILD RUN <<E\nx\nE").unwrap();
        assert_eq!(onbuild[0].documents.len(), 1);
    }
}
