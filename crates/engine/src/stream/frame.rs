//! Docker's multiplexed stream: eight bytes of header (stream, three zeroes, big-endian length),
//! then the bytes.

/// Stream number of standard output.
pub(crate) const STDOUT: u8 = 1;
/// Stream number of standard error.
pub(crate) const STDERR: u8 = 2;
/// Bytes before the payload.
pub(crate) const HEADER: usize = 8;

/// The header of a frame of `len` bytes.
pub(crate) fn header(stream: u8, len: usize) -> [u8; HEADER] {
    let [a, b, c, d] = u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes();
    [stream, 0, 0, 0, a, b, c, d]
}

/// A whole frame.
pub(crate) fn frame(stream: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.extend_from_slice(&header(stream, payload.len()));
    bytes.extend_from_slice(payload);
    bytes
}

#[cfg(test)]
mod tests {
    use super::{STDERR, frame};

    #[test]
    fn layout() {
        assert_eq!(frame(STDERR, b"hi"), [2, 0, 0, 0, 0, 0, 0, 2, b'h', b'i']);
    }
}
