//! As much of MessagePack as the Fluentd protocol needs.

/// Appends the head of an array.
pub(crate) fn array(out: &mut Vec<u8>, length: u8) {
    debug_assert!(length < 16);
    out.push(0x90 | length);
}

/// Appends the head of a map.
pub(crate) fn map(out: &mut Vec<u8>, pairs: u16) {
    out.push(0xde);
    out.extend_from_slice(&pairs.to_be_bytes());
}

/// Appends a string; its bytes need not be UTF-8, as Fluentd's own clients do it.
pub(crate) fn string(out: &mut Vec<u8>, text: &[u8]) {
    let length = text.len() as u32;
    match length {
        0..=31 => out.push(0xa0 | length as u8),
        32..=0xffff => {
            out.push(0xda);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            out.push(0xdb);
            out.extend_from_slice(&length.to_be_bytes());
        }
    }
    out.extend_from_slice(text);
}

/// Appends a number of seconds.
pub(crate) fn seconds(out: &mut Vec<u8>, seconds: i64) {
    out.push(0xd3);
    out.extend_from_slice(&seconds.to_be_bytes());
}

/// Appends Fluentd's `EventTime`: extension 0 with seconds and nanoseconds.
pub(crate) fn event_time(out: &mut Vec<u8>, nanos: i64) {
    out.extend_from_slice(&[0xd7, 0x00]);
    out.extend_from_slice(&((nanos / 1_000_000_000) as u32).to_be_bytes());
    out.extend_from_slice(&((nanos % 1_000_000_000) as u32).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_choose_the_form() {
        let head = |length: usize| {
            let mut out = Vec::new();
            string(&mut out, &vec![b'x'; length]);
            out.truncate(out.len() - length);
            out
        };
        assert_eq!(head(31), [0xbf]);
        assert_eq!(head(32), [0xda, 0, 32]);
        assert_eq!(head(70_000), [0xdb, 0, 1, 0x11, 0x70]);
        let mut time = Vec::new();
        event_time(&mut time, 1_000_000_002);
        assert_eq!(time, [0xd7, 0, 0, 0, 0, 1, 0, 0, 0, 2]);
    }
}
