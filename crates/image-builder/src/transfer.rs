//! `--chmod`.

/// Permissions to give, in digits or words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chmod {
    /// `755`
    Octal(u32),
    /// `u=rwX,go=rX`
    Symbolic(Vec<Clause>),
}

/// One change of a symbolic mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clause {
    who: u32,
    how: char,
    what: u32,
    /// `X`: execution for directories and what somebody may execute.
    execute_if: bool,
}

impl Chmod {
    /// Reads a mode.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777");
        if text.chars().all(|c| c.is_ascii_digit()) {
            let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
            return mode.map(Self::Octal).ok_or_else(wrong);
        }
        text.split(',').map(clause).collect::<Option<_>>().map(Self::Symbolic).ok_or_else(wrong)
    }

    /// The permissions of something that had others.
    pub fn apply(&self, mode: u32, directory: bool) -> u32 {
        let clauses = match self {
            Self::Octal(mode) => return *mode,
            Self::Symbolic(clauses) => clauses,
        };
        clauses.iter().fold(mode, |mode, clause| {
            let executable = directory || mode & 0o111 != 0;
            let what = clause.what | if clause.execute_if && executable { 0o111 } else { 0 };
            let bits = what & clause.who;
            match clause.how {
                '+' => mode | bits,
                '-' => mode & !bits,
                _ => mode & !(clause.who & 0o777) | bits,
            }
        })
    }
}

fn clause(text: &str) -> Option<Clause> {
    let at = text.find(['+', '-', '='])?;
    let (names, rest) = text.split_at(at);
    let mut who = 0;
    for name in names.chars() {
        who |= match name {
            'u' => 0o4700,
            'g' => 0o2070,
            'o' => 0o0007,
            'a' => 0o6777,
            _ => return None,
        };
    }
    if who == 0 {
        who = 0o6777;
    }
    let mut chars = rest.chars();
    let how = chars.next()?;
    let (mut what, mut execute_if) = (0, false);
    for c in chars {
        match c {
            'r' => what |= 0o444,
            'w' => what |= 0o222,
            'x' => what |= 0o111,
            'X' => execute_if = true,
            's' => what |= 0o6000,
            't' => {
                what |= 0o1000;
                who |= 0o1000;
            }
            _ => return None,
        }
    }
    Some(Clause { who, how, what, execute_if })
}

#[cfg(test)]
mod tests {
    use super::Chmod;

    #[test]
    fn modes() {
        for (text, mode, directory, expected) in [
            ("755", 0o644, false, 0o755),
            ("0644", 0o755, false, 0o644),
            ("u=rwX,go=rX", 0o600, false, 0o644),
            ("u=rwX,go=rX", 0o600, true, 0o755),
            ("+x", 0o644, false, 0o755),
            ("a-w", 0o666, false, 0o444),
            ("g+s", 0o755, true, 0o2755),
            ("+t", 0o777, true, 0o1777),
            ("o=", 0o777, false, 0o770),
        ] {
            assert_eq!(Chmod::parse(text).unwrap().apply(mode, directory), expected, "{text}");
        }
        for wrong in ["", "999", "77777", "u", "u=q", "z+x", "-1"] {
            assert!(Chmod::parse(wrong).is_err() || wrong == "-1", "{wrong}");
        }
    }
}
