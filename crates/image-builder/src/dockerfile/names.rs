//! The words that instructions begin with.

use super::Text;

const NAMES: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// The instruction that a word means, in whatever case.
pub(super) fn find(word: &str) -> Text<&'static str> {
    let upper = word.to_ascii_uppercase();
    if let Some(name) = NAMES.into_iter().find(|name| *name == upper) {
        return Ok(name);
    }
    let shown: String = word.chars().take(64).collect();
    let hint = NAMES.into_iter().map(|name| (distance(name, &upper), name)).min();
    Err(match hint {
        Some((1..=2, name)) => format!("unknown instruction: {shown} (did you mean {name}?)"),
        _ => format!("unknown instruction: {shown}"),
    })
}

/// How many characters have to be changed, added or removed.
fn distance(a: &str, b: &str) -> usize {
    const LONGEST: usize = 16;
    if b.len() > LONGEST {
        return usize::MAX;
    }
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = corner + usize::from(x != *y);
            corner = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn hints() {
        assert_eq!(find("run"), Ok("RUN"));
        assert_eq!(find("FORM").unwrap_err(), "unknown instruction: FORM (did you mean FROM?)");
        assert_eq!(find("COPPY").unwrap_err(), "unknown instruction: COPPY (did you mean COPY?)");
        assert_eq!(find("XYZZYX").unwrap_err(), "unknown instruction: XYZZYX");
    }
}
