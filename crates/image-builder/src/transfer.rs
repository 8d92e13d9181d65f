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
    /// `g=u`: by how many bits the permissions to copy are shifted.
    copied: Option<u32>,
}

impl Chmod {
    /// Reads a mode.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777");
        if text.chars().all(|c| c.is_ascii_digit()) {
            let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
            return mode.map(Self::Octal).ok_or_else(wrong);
        }
        let mut clauses = Vec::new();
        for clause in text.split(',') {
            clauses.extend(changes(clause).ok_or_else(wrong)?);
        }
        Ok(Self::Symbolic(clauses))
    }

    /// The permissions of something that had others.
    pub fn apply(&self, mode: u32, directory: bool) -> u32 {
        let clauses = match self {
            Self::Octal(mode) => return *mode,
            Self::Symbolic(clauses) => clauses,
        };
        clauses.iter().fold(mode, |mode, clause| {
            let executable = directory || mode & 0o111 != 0;
            let copied = clause.copied.map_or(0, |shift| (mode >> shift & 0o7) * 0o111);
            let what = copied | clause.what | if clause.execute_if && executable { 0o111 } else { 0 };
            let bits = what & clause.who;
            match clause.how {
                '+' => mode | bits,
                '-' => mode & !bits,
                _ => mode & !(clause.who & 0o777) | bits,
            }
        })
    }
}

/// The changes between two commas: `u+r-w`.
fn changes(text: &str) -> Option<Vec<Clause>> {
    let at = text.find(['+', '-', '='])?;
    let (names, mut rest) = text.split_at(at);
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
    let mut clauses = Vec::new();
    while let Some(how) = rest.chars().next() {
        let end = rest[1..].find(['+', '-', '=']).map_or(rest.len(), |at| at + 1);
        clauses.push(change(who, how, &rest[1..end])?);
        rest = &rest[end..];
    }
    Some(clauses)
}

fn change(mut who: u32, how: char, permissions: &str) -> Option<Clause> {
    let copied = match permissions {
        "u" => Some(6),
        "g" => Some(3),
        "o" => Some(0),
        _ => None,
    };
    let (mut what, mut execute_if) = (0, false);
    for c in permissions.chars().filter(|_| copied.is_none()) {
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
    Some(Clause { who, how, what, execute_if, copied })
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
            ("u=rwX,go=rX", 0o700, false, 0o755),
            ("u=rwX,go=rX", 0o600, true, 0o755),
            ("+x", 0o644, false, 0o755),
            ("a-w", 0o666, false, 0o444),
            ("g+s", 0o755, true, 0o2755),
            ("+t", 0o777, true, 0o1777),
            ("o=", 0o777, false, 0o770),
            ("g=u", 0o640, false, 0o660),
            ("go=u", 0o755, true, 0o777),
            ("o+g", 0o654, false, 0o655),
            ("u+x-w", 0o644, false, 0o544),
            ("u=rw,g+r-w=o", 0o024, false, 0o644),
        ] {
            assert_eq!(Chmod::parse(text).unwrap().apply(mode, directory), expected, "{text}");
        }
        for wrong in ["", "999", "77777", "u", "u=q", "z+x", "u+ur", ",", "u+r,"] {
            assert!(Chmod::parse(wrong).is_err() || wrong.is_empty(), "{wrong}");
        }
    }
}
