//! Packets and small files: one version byte, then postcard.

use crate::{MAX_PACKET, PROTOCOL_VERSION};
use serde::{Serialize, de::DeserializeOwned};

/// Why a packet could not be made or understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The other side speaks a version that this one does not.
    #[error("unsupported shim protocol version {0}")]
    Version(u8),
    /// More than [`MAX_PACKET`] bytes.
    #[error("shim message of {0} bytes exceeds the limit of {MAX_PACKET}")]
    TooLarge(usize),
    /// Empty, cut short, trailing bytes, or an unknown variant.
    #[error("malformed shim message")]
    Malformed,
}

impl From<CodecError> for gantry_model::Error {
    fn from(e: CodecError) -> Self {
        Self::internal(e.to_string()).with_source(e)
    }
}

/// Encodes a [`crate::Request`], [`crate::Message`] or [`crate::Exit`].
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    let packet = postcard::to_extend(value, vec![PROTOCOL_VERSION]).map_err(|_| CodecError::Malformed)?;
    if packet.len() > MAX_PACKET {
        return Err(CodecError::TooLarge(packet.len()));
    }
    Ok(packet)
}

/// Decodes what [`encode`] made. Memory is bounded by the packet's length.
pub fn decode<T: DeserializeOwned>(packet: &[u8]) -> Result<T, CodecError> {
    match postcard::take_from_bytes(payload(packet)?) {
        Ok((value, [])) => Ok(value),
        _ => Err(CodecError::Malformed),
    }
}

/// The id of a request whose body is not understood, so that a newer daemon gets an answer from an
/// older shim. Relies on the id being the first field of [`crate::Request`].
pub fn request_id(packet: &[u8]) -> Option<u32> {
    Some(postcard::take_from_bytes(payload(packet).ok()?).ok()?.0)
}

fn payload(packet: &[u8]) -> Result<&[u8], CodecError> {
    if packet.len() > MAX_PACKET {
        return Err(CodecError::TooLarge(packet.len()));
    }
    match packet.split_first() {
        Some((&PROTOCOL_VERSION, payload)) => Ok(payload),
        Some((&other, _)) => Err(CodecError::Version(other)),
        None => Err(CodecError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Answer, Event, Exit, Failure, Message, Phase, Request, RequestBody, Stage, Status, Target};

    fn requests() -> Vec<Request> {
        let exec_id = "ab".repeat(32);
        [
            RequestBody::Status,
            RequestBody::Go { net: vec![1, 2, 3] },
            RequestBody::Exec { exec_id: exec_id.clone() },
            RequestBody::Signal { target: Target::Exec(exec_id), signal: 9 },
            RequestBody::Signal { target: Target::All, signal: -1 },
            RequestBody::Resize { rows: 24, cols: 80 },
            RequestBody::Attach { stdin: true, stdout: true, stderr: false },
            RequestBody::CloseStdin,
        ]
        .into_iter()
        .zip([0, 1, 127, 128, u32::MAX, 5, 6, 7])
        .map(|(body, id)| Request { id, body })
        .collect()
    }

    fn messages() -> Vec<Message> {
        let exit = Exit { code: 137, oom_killed: true, finished_at: i64::MAX, started_at: i64::MIN };
        let failure = Failure { stage: Stage::NotFound, errno: 2, message: "no \"such\" file\n\u{1F980}".into() };
        vec![
            Message::Answer { id: 1, answer: Answer::Done },
            Message::Answer { id: 2, answer: Answer::Failed(failure.clone()) },
            Message::Answer {
                id: 3,
                answer: Answer::Status(Status { phase: Phase::Exited(exit), execs: vec![("x".into(), 7)] }),
            },
            Message::Answer { id: 4, answer: Answer::Exec { pid: 99 } },
            Message::Event(Event::Created { pid: 5 }),
            Message::Event(Event::StartFailed(failure)),
            Message::Event(Event::Exited(exit)),
            Message::Event(Event::ExecExited { exec_id: "e".into(), code: 255 }),
            Message::Event(Event::OutOfMemory),
        ]
    }

    #[test]
    fn what_is_encoded_comes_back() {
        for request in requests() {
            let packet = encode(&request).expect("encodes");
            assert_eq!(packet[0], PROTOCOL_VERSION);
            assert_eq!(decode::<Request>(&packet), Ok(request.clone()));
            assert_eq!(request_id(&packet), Some(request.id));
        }
        for message in messages() {
            assert_eq!(decode::<Message>(&encode(&message).expect("encodes")), Ok(message));
        }
    }

    #[test]
    fn damaged_packets_are_refused_without_panic() {
        let packets: Vec<Vec<u8>> =
            requests().iter().map(encode).chain(messages().iter().map(encode)).map(|p| p.expect("encodes")).collect();
        for packet in &packets {
            for cut in 0..packet.len() {
                assert!(decode::<Message>(&packet[..cut]).is_err() || decode::<Request>(&packet[..cut]).is_err());
            }
            let mut longer = packet.clone();
            longer.push(0);
            assert_eq!(decode::<Request>(&longer).or(Err(())), Err(()));
            for position in 0..packet.len() {
                for bit in 0..8 {
                    let mut flipped = packet.clone();
                    flipped[position] ^= 1 << bit;
                    let _ = (decode::<Request>(&flipped), decode::<Message>(&flipped), request_id(&flipped));
                }
            }
        }
    }

    #[test]
    fn noise_is_refused_without_panic() {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        for round in 0..20_000 {
            let mut packet = vec![PROTOCOL_VERSION];
            for _ in 0..round % 64 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                packet.push(state as u8);
            }
            let _ = (decode::<Request>(&packet), decode::<Message>(&packet), decode::<Exit>(&packet));
        }
    }

    #[test]
    fn version_and_size_are_checked() {
        assert_eq!(decode::<Request>(&[9, 0, 0]), Err(CodecError::Version(9)));
        assert_eq!(decode::<Request>(&[]), Err(CodecError::Malformed));
        assert_eq!(decode::<Request>(&vec![1; MAX_PACKET + 1]), Err(CodecError::TooLarge(MAX_PACKET + 1)));
        let big = Request { id: 1, body: RequestBody::Go { net: vec![0; MAX_PACKET] } };
        assert!(matches!(encode(&big), Err(CodecError::TooLarge(_))));
    }

    #[test]
    fn an_unknown_verb_still_tells_its_id() {
        let packet = [PROTOCOL_VERSION, 77, 120];
        assert_eq!(decode::<Request>(&packet), Err(CodecError::Malformed));
        assert_eq!(request_id(&packet), Some(77));
    }
}
