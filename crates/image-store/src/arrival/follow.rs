//! Reading a blob behind its front while it arrives.

use super::IncomingLayer;
use std::io::{self, Read};

/// Reads whatever has arrived without a gap, and waits for the rest.
pub(super) struct Follow<'l> {
    layer: &'l IncomingLayer,
    at: u64,
}

impl<'l> Follow<'l> {
    pub(super) fn new(layer: &'l IncomingLayer) -> Self {
        Self { layer, at: 0 }
    }
}

impl Read for Follow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let front = self.layer.wait_beyond(self.at)?;
        let most = usize::try_from(front - self.at).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let read = self.layer.read_at(self.at, &mut buffer[..most])?;
        if read == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the blob became shorter"));
        }
        self.at += read as u64;
        Ok(read)
    }
}
