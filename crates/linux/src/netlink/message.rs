//! Reading messages.

use super::{Attributes, align, batch::HEADER};

/// `NLMSG_ERROR`: an acknowledgement or a refusal.
const ERROR: u16 = 2;
/// `NLMSG_DONE`: the end of a dump.
const DONE: u16 = 3;
/// `NLM_F_DUMP_INTR`: the objects changed during the dump.
const DUMP_INTERRUPTED: u16 = 0x10;
/// `NLM_F_CAPPED`: a refusal carries the request's header only.
const CAPPED: u16 = 0x100;
/// `NLM_F_ACK_TLVS`: a refusal carries attributes.
const ACK_TLVS: u16 = 0x200;
/// `NLMSGERR_ATTR_MSG`: the kernel's reason in words.
const REASON: u16 = 1;

/// A message from the kernel.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Its type.
    pub kind: u16,
    /// Its flags.
    pub flags: u16,
    /// The sequence number of the request that it answers.
    pub seq: u32,
    /// The port of the socket that caused it, in what everybody is told.
    pub port: u32,
    /// What follows the header.
    pub payload: &'a [u8],
}

/// What an answer says about its request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict<'a> {
    /// Done.
    Success,
    /// Refused with an errno and perhaps words.
    Failure(i32, Option<&'a str>),
    /// No verdict but data.
    Data,
}

impl<'a> Message<'a> {
    /// The attributes after a fixed part of `header` bytes.
    pub fn attributes(&self, header: usize) -> Attributes<'a> {
        Attributes::new(self.payload.get(align(header)..).unwrap_or_default())
    }

    /// Whether a dump has to be repeated because it may have missed something.
    pub(super) fn interrupted(&self) -> bool {
        self.flags & DUMP_INTERRUPTED != 0
    }

    pub(super) fn verdict(&self) -> Verdict<'a> {
        match self.kind {
            // A dump's end carries an errno as well; a missing one is a success.
            DONE => match self.code().unwrap_or(0) {
                0.. => Verdict::Success,
                code => Verdict::Failure(code.saturating_neg(), None),
            },
            ERROR => match self.code() {
                Some(0) => Verdict::Success,
                Some(code) => Verdict::Failure(code.saturating_neg(), self.reason()),
                None => Verdict::Failure(libc::EBADMSG, None),
            },
            _ => Verdict::Data,
        }
    }

    fn code(&self) -> Option<i32> {
        self.payload.first_chunk().map(|b| i32::from_ne_bytes(*b))
    }

    fn reason(&self) -> Option<&'a str> {
        if self.flags & ACK_TLVS == 0 {
            return None;
        }
        let request = self.payload.get(4..)?;
        let skip = if self.flags & CAPPED == 0 { u32::from_ne_bytes(*request.first_chunk()?) as usize } else { HEADER };
        Attributes::new(request.get(align(skip)..)?).get(REASON)?.text()
    }
}

/// The messages of one datagram. Ends early where the bytes are no messages.
#[derive(Debug, Clone)]
pub struct Messages<'a> {
    bytes: &'a [u8],
}

impl<'a> Messages<'a> {
    /// The messages in `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let header = self.bytes.first_chunk::<HEADER>()?;
        let word = |at: usize| u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let half = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
        let len = word(0) as usize;
        let payload = self.bytes.get(HEADER..len)?;
        self.bytes = self.bytes.get(align(len)..).unwrap_or_default();
        Some(Message { kind: half(4), flags: half(6), seq: word(8), port: word(12), payload })
    }
}

#[cfg(test)]
mod tests {
    use super::super::noise;
    use super::{Message, Messages, Verdict};

    #[test]
    fn hostile_bytes_end_the_list_and_nothing_else() {
        let mut attributes = 0;
        noise::messages(super::ERROR, 20, |m| {
            let _ = (m.verdict(), m.interrupted());
            attributes += noise::walk(m.attributes(0), 3) + noise::walk(m.attributes(20), 3);
        });
        assert!(attributes > 10_000, "the noise got somewhere");
    }

    #[test]
    fn impossible_lengths() {
        for len in [0u32, 1, 15, 17, 100, u32::MAX] {
            let mut bytes = [0u8; 16];
            bytes[..4].copy_from_slice(&len.to_ne_bytes());
            assert_eq!(Messages::new(&bytes).count(), 0, "{len}");
        }
        let mut attribute = [0u8; 8];
        for len in [0u16, 3, 9, u16::MAX] {
            attribute[..2].copy_from_slice(&len.to_ne_bytes());
            assert_eq!(super::Attributes::new(&attribute).count(), 0, "{len}");
        }
    }

    #[test]
    fn a_refusal_with_its_reason() {
        let mut payload = (-17i32).to_ne_bytes().to_vec();
        payload.extend_from_slice(&[0; 16]);
        payload.extend_from_slice(&[9, 0, 1, 0]);
        payload.extend_from_slice(b"File\0\0\0\0");
        let capped = Message { kind: 2, flags: 0x300, seq: 1, port: 0, payload: &payload };
        assert_eq!(capped.verdict(), Verdict::Failure(17, Some("File")));
        let short = Message { kind: 2, flags: 0x300, seq: 1, port: 0, payload: &payload[..2] };
        assert_eq!(short.verdict(), Verdict::Failure(libc::EBADMSG, None));
        let least = Message { kind: 2, flags: 0, seq: 1, port: 0, payload: &i32::MIN.to_ne_bytes() };
        assert_eq!(least.verdict(), Verdict::Failure(i32::MAX, None));
    }
}
