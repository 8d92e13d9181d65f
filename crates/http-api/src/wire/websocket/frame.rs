//! Frames of RFC 6455.

use std::io;
use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest payload of a control frame.
const MOST_CONTROL: u64 = 125;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opcode {
    /// A message, or a piece of one; which kind does not matter to a stream of bytes.
    Data,
    Close,
    Ping,
    Pong,
}

/// The head of a client's frame; its payload follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) opcode: Opcode,
    pub(super) length: u64,
    pub(super) mask: [u8; 4],
}

/// Reads a head; `None` at the end of the stream between two frames.
pub(super) async fn read_head<R: AsyncRead + Unpin>(client: &mut R) -> io::Result<Option<Head>> {
    let mut start = [0; 2];
    if client.read(&mut start[..1]).await? == 0 {
        return Ok(None);
    }
    client.read_exact(&mut start[1..]).await?;
    let [first, second] = start;
    let last = first & 0x80 != 0;
    let opcode = match first & 0x7F {
        0..=2 => Opcode::Data,
        8 if last => Opcode::Close,
        9 if last => Opcode::Ping,
        10 if last => Opcode::Pong,
        _ => return Err(bad("a frame of an unknown kind")),
    };
    if second & 0x80 == 0 {
        return Err(bad("a frame without a mask"));
    }
    let length = match second & 0x7F {
        126 => u64::from(client.read_u16().await?),
        127 => client.read_u64().await?,
        short => u64::from(short),
    };
    if opcode != Opcode::Data && length > MOST_CONTROL {
        return Err(bad("a control frame that is too long"));
    }
    let mut mask = [0; 4];
    client.read_exact(&mut mask).await?;
    Ok(Some(Head { opcode, length, mask }))
}

/// Undoes the mask of the piece of a payload that begins at `offset`.
pub(super) fn unmask(piece: &mut [u8], mask: [u8; 4], offset: u64) {
    for (at, byte) in (offset..).zip(piece) {
        *byte ^= mask[(at % 4) as usize];
    }
}

/// Message types that the server sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    Text = 1,
    Binary = 2,
    Close = 8,
    Pong = 10,
}

/// A whole frame.
pub(super) fn encode(kind: Sent, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(payload.len() + 10);
    frame.push(0x80 | kind as u8);
    match payload.len() {
        length @ 0..126 => frame.push(length as u8),
        length @ 126..=0xFFFF => {
            frame.push(126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn heads() {
        let read = async |bytes: &[u8]| read_head(&mut &*bytes).await;
        let mask = [1, 2, 3, 4];
        let head = |opcode, length| Some(Head { opcode, length, mask });
        assert_eq!(read(&[0x82, 0x83, 1, 2, 3, 4]).await.unwrap(), head(Opcode::Data, 3));
        assert_eq!(read(&[0x00, 0xFE, 1, 0, 1, 2, 3, 4]).await.unwrap(), head(Opcode::Data, 256));
        assert_eq!(read(&[0x81, 0xFF, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4]).await.unwrap(), head(Opcode::Data, 1 << 32));
        assert_eq!(read(&[0x88, 0x80, 1, 2, 3, 4]).await.unwrap(), head(Opcode::Close, 0));
        assert_eq!(read(&[]).await.unwrap(), None);
        for bad in [
            &[0x82, 0x03][..],
            &[0x09, 0x80, 1, 2, 3, 4],
            &[0xC2, 0x80, 1, 2, 3, 4],
            &[0x89, 0xFE, 1, 0, 1, 2, 3, 4],
            &[0x82],
        ] {
            assert!(read(bad).await.is_err(), "{bad:?}");
        }
    }

    #[test]
    fn masks_in_pieces() {
        let mut text = *b"hello";
        unmask(&mut text[..2], [1, 2, 3, 4], 0);
        unmask(&mut text[2..], [1, 2, 3, 4], 2);
        unmask(&mut text, [1, 2, 3, 4], 0);
        assert_eq!(&text, b"hello");
    }

    #[test]
    fn lengths() {
        assert_eq!(encode(Sent::Binary, b"ab"), [0x82, 2, b'a', b'b']);
        assert_eq!(encode(Sent::Text, &[0; 126])[..4], [0x81, 126, 0, 126]);
        assert_eq!(encode(Sent::Binary, &vec![0; 1 << 16])[..10], [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }
}
