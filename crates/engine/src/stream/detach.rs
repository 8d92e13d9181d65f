//! The key sequence that detaches a client from a terminal (`ctrl-p,ctrl-q` unless it says otherwise).

use gantry_model::{Error, Result};

const DEFAULT: &[u8] = &[16, 17];

/// Recognises the sequence in a stream of input, however it is split.
#[derive(Debug, Clone)]
pub(crate) struct DetachKeys {
    sequence: Vec<u8>,
    matched: usize,
}

impl DetachKeys {
    /// Parses Docker's notation: keys separated by commas, each one character or `ctrl-` and one
    /// of `a` to `z`, `@`, `[`, `\`, `]`, `^`, `_`. Empty is the default.
    pub(crate) fn parse(text: Option<&str>) -> Result<Self> {
        let Some(text) = text.filter(|t| !t.is_empty()) else {
            return Ok(Self { sequence: DEFAULT.to_vec(), matched: 0 });
        };
        let invalid = || Error::invalid(format!("Invalid detach keys ({text}) provided"));
        let sequence = text.split(',').map(|key| parse_key(key).ok_or_else(invalid)).collect::<Result<_>>()?;
        Ok(Self { sequence, matched: 0 })
    }

    /// Appends to `out` what of `input` is for the container; `true` when the sequence is complete.
    /// Bytes that began like the sequence and turned out not to be it are passed on late.
    pub(crate) fn filter(&mut self, input: &[u8], out: &mut Vec<u8>) -> bool {
        for &byte in input {
            if byte != self.sequence[self.matched] && self.matched > 0 {
                out.extend_from_slice(&self.sequence[..self.matched]);
                self.matched = 0;
            }
            if byte == self.sequence[self.matched] {
                self.matched += 1;
            } else {
                out.push(byte);
            }
            if self.matched == self.sequence.len() {
                self.matched = 0;
                return true;
            }
        }
        false
    }
}

fn parse_key(key: &str) -> Option<u8> {
    if let [byte] = key.as_bytes() {
        return Some(*byte);
    }
    match key.strip_prefix("ctrl-")?.as_bytes() {
        [c @ b'a'..=b'z'] => Some(c - b'a' + 1),
        [b'@'] => Some(0),
        [c @ b'['..=b'_'] => Some(c - b'[' + 27),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::DetachKeys;

    fn run(keys: Option<&str>, pieces: &[&[u8]]) -> (Vec<u8>, bool) {
        let mut keys = DetachKeys::parse(keys).unwrap();
        let mut out = Vec::new();
        let detached = pieces.iter().any(|piece| keys.filter(piece, &mut out));
        (out, detached)
    }

    #[test]
    fn recognises_split_sequences() {
        assert_eq!(run(None, &[b"ab\x10", b"\x11zz"]), (b"ab".to_vec(), true));
        assert_eq!(run(None, &[b"\x10x\x11"]), (b"\x10x\x11".to_vec(), false));
        assert_eq!(run(None, &[b"\x10\x10\x11"]), (b"\x10".to_vec(), true));
        assert_eq!(run(Some("ctrl-a,d"), &[b"1\x01d"]), (b"1".to_vec(), true));
    }

    #[test]
    fn refuses_nonsense() {
        for bad in ["ctrl-", "ctrl-1", "abc", "a,,b", "ctrl-A,"] {
            assert!(DetachKeys::parse(Some(bad)).is_err(), "{bad}");
        }
    }
}
