//! Domain names.

/// The longest name as text, without the dot at its end.
const LONGEST: usize = 253;
/// The two bits that tell a pointer from a label's length.
const POINTER: u8 = 0xc0;

/// A name as text: lower-case labels with dots between them.
#[derive(Clone, Copy)]
pub(crate) struct Name {
    text: [u8; LONGEST],
    len: usize,
    /// Whether the text says what the name is: a label may hold any byte, and a dot too.
    faithful: bool,
}

impl Name {
    /// Reads the name of a question, which begins at `at`, and gives where it ends. What it could point to would lie
    /// before it, where no names are, so that a pointer is a mistake or an attack.
    pub(crate) fn read(bytes: &[u8], mut at: usize) -> Option<(Self, usize)> {
        let mut name = Self { text: [0; LONGEST], len: 0, faithful: true };
        loop {
            let len = usize::from(*bytes.get(at)?);
            at += 1;
            match len {
                0 => return Some((name, at)),
                1..=63 => {
                    name.push(bytes.get(at..at + len)?)?;
                    at += len;
                }
                _ => return None,
            }
        }
    }

    fn push(&mut self, label: &[u8]) -> Option<()> {
        if self.len > 0 {
            *self.text.get_mut(self.len)? = b'.';
            self.len += 1;
        }
        let place = self.text.get_mut(self.len..self.len + label.len())?;
        place.copy_from_slice(label);
        place.make_ascii_lowercase();
        self.len += label.len();
        self.faithful &= !label.contains(&b'.');
        Some(())
    }

    /// The text, if the name can be told by it; empty for the root.
    pub(crate) fn text(&self) -> Option<&str> {
        self.faithful.then(|| std::str::from_utf8(&self.text[..self.len]).ok()).flatten()
    }

    /// Whether it consists of one label.
    pub(crate) fn is_single_label(&self) -> bool {
        self.len > 0 && !self.text[..self.len].contains(&b'.')
    }
}

/// Gives where the name ends that begins at `at`. A pointer ends it; nothing is followed.
pub(super) fn skip(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let len = *bytes.get(at)?;
        match len {
            0 => return Some(at + 1),
            1..=63 => at += 1 + usize::from(len),
            _ if len & POINTER == POINTER => return Some(at + 2),
            _ => return None,
        }
    }
}

/// Writes a name that is given as text, with what does not fit left out: `None` if a label is empty or too long.
pub(super) fn write(text: &str, out: &mut Vec<u8>) -> Option<()> {
    if text.len() > LONGEST {
        return None;
    }
    for label in text.split('.') {
        let len = u8::try_from(label.len()).ok().filter(|len| (1..=63).contains(len))?;
        out.push(len);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Option<(String, usize)> {
        let (name, end) = Name::read(bytes, 0)?;
        Some((name.text()?.to_owned(), end))
    }

    #[test]
    fn names_are_read() {
        assert_eq!(read(b"\x03WeB\x03Net\0rest"), Some(("web.net".into(), 9)));
        assert_eq!(read(b"\0"), Some((String::new(), 1)));
        assert_eq!(read("\x04b\u{fc}r\0".as_bytes()), Some(("b\u{fc}r".into(), 6)));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for bad in [&b""[..], b"\x03we", b"\x03web", b"\xc0\x00", b"\x40a\0", b"\x80a\0"] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
        let long: Vec<u8> = std::iter::repeat_n(b"\x3f".iter().chain(&[b'a'; 63]), 4).flatten().copied().collect();
        assert_eq!(read(&[&long[..], b"\0"].concat()), None, "256 bytes");
        assert!(read(&[&long[..192], b"\x3d", &[b'a'; 61], b"\0"].concat()).is_some(), "255 bytes");
    }

    #[test]
    fn text_that_would_lie_is_not_given() {
        let (name, _) = Name::read(b"\x03a.b\0", 0).unwrap();
        assert_eq!(name.text(), None);
        let (name, _) = Name::read(b"\x02\xff\xfe\0", 0).unwrap();
        assert_eq!(name.text(), None);
    }

    #[test]
    fn names_are_written() {
        let mut out = Vec::new();
        assert_eq!(write("web.net", &mut out), Some(()));
        assert_eq!(out, b"\x03web\x03net\0");
        for bad in ["", "a..b", ".a", &"a".repeat(64), &"a.".repeat(150)] {
            assert_eq!(write(bad, &mut Vec::new()), None, "{bad}");
        }
    }
}
