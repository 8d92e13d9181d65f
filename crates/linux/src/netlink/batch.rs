//! Requests under construction.

use super::{REQUEST, align};

/// The size of `struct nlmsghdr`.
pub(super) const HEADER: usize = 16;

/// Any number of requests that go to the kernel in one `sendmsg`.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    /// Where each message begins.
    starts: Vec<usize>,
    /// An attribute outgrew its 16-bit length. Kept until the batch is sent, so that building needs no `?`.
    overflow: bool,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a message of type `kind`: `header` is the protocol's fixed part, `fill` adds the attributes.
    /// `NLM_F_REQUEST` is added to `flags`.
    pub fn message(&mut self, kind: u16, flags: u16, header: &[u8], fill: impl FnOnce(&mut Attrs<'_>)) {
        let start = self.bytes.len();
        self.starts.push(start);
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(flags | REQUEST).to_ne_bytes());
        // Sequence number (set when sent) and port (the kernel knows it).
        self.bytes.extend_from_slice(&[0; 8]);
        self.bytes.extend_from_slice(header);
        pad(&mut self.bytes);
        fill(&mut Attrs { bytes: &mut self.bytes, overflow: &mut self.overflow });
        let len = (self.bytes.len() - start) as u32;
        self.bytes[start..start + 4].copy_from_slice(&len.to_ne_bytes());
    }

    /// The number of messages.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there is no message.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Adds `flags` to the message that was added last.
    pub fn flag_last(&mut self, flags: u16) {
        if let Some(&start) = self.starts.last() {
            let now = u16::from_ne_bytes([self.bytes[start + 6], self.bytes[start + 7]]);
            self.bytes[start + 6..start + 8].copy_from_slice(&(now | flags).to_ne_bytes());
        }
    }

    /// Numbers the messages from `first` on and gives the bytes to send; `None` if an attribute was too large.
    pub(super) fn finish(&mut self, first: u32) -> Option<&[u8]> {
        for (i, &start) in self.starts.iter().enumerate() {
            let seq = first.wrapping_add(i as u32);
            self.bytes[start + 8..start + 12].copy_from_slice(&seq.to_ne_bytes());
        }
        (!self.overflow).then_some(&self.bytes)
    }

    /// How many answers to expect: the messages that ask for one.
    pub(super) fn answers(&self) -> usize {
        let asks =
            |&&start: &&usize| u16::from_ne_bytes([self.bytes[start + 6], self.bytes[start + 7]]) & super::ACK != 0;
        self.starts.iter().filter(asks).count()
    }
}

/// The attributes of a message under construction.
#[derive(Debug)]
pub struct Attrs<'a> {
    bytes: &'a mut Vec<u8>,
    overflow: &'a mut bool,
}

impl Attrs<'_> {
    /// An attribute of raw bytes.
    pub fn bytes(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        self.put(kind, |bytes| bytes.extend_from_slice(value))
    }

    /// An attribute without a value.
    pub fn flag(&mut self, kind: u16) -> &mut Self {
        self.bytes(kind, &[])
    }

    /// A byte.
    pub fn u8(&mut self, kind: u16, value: u8) -> &mut Self {
        self.bytes(kind, &[value])
    }

    /// A 16-bit number in the machine's byte order.
    pub fn u16(&mut self, kind: u16, value: u16) -> &mut Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    /// A 32-bit number in the machine's byte order.
    pub fn u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    /// A 32-bit number in network byte order, as netfilter wants them.
    pub fn be32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// A 64-bit number in network byte order.
    pub fn be64(&mut self, kind: u16, value: u64) -> &mut Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// Text with its terminating zero.
    pub fn text(&mut self, kind: u16, value: &str) -> &mut Self {
        self.put(kind, |bytes| {
            bytes.extend_from_slice(value.as_bytes());
            bytes.push(0);
        })
    }

    /// An attribute that consists of attributes.
    pub fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Attrs<'_>)) -> &mut Self {
        const NLA_F_NESTED: u16 = 0x8000;
        self.nest_plain(kind | NLA_F_NESTED, fill)
    }

    /// The same without the flag that marks it as nested, for the few places that check the bare number.
    pub fn nest_plain(&mut self, kind: u16, fill: impl FnOnce(&mut Attrs<'_>)) -> &mut Self {
        let start = self.open(kind);
        fill(&mut Attrs { bytes: self.bytes, overflow: self.overflow });
        self.close(start)
    }

    /// Bytes between the attributes of a nest: `VETH_INFO_PEER` begins with a `struct ifinfomsg`.
    pub fn raw(&mut self, value: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(value);
        pad(self.bytes);
        self
    }

    fn put(&mut self, kind: u16, write: impl FnOnce(&mut Vec<u8>)) -> &mut Self {
        let start = self.open(kind);
        write(self.bytes);
        self.close(start)
    }

    fn open(&mut self, kind: u16) -> usize {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        start
    }

    fn close(&mut self, start: usize) -> &mut Self {
        // The length counts the attribute's own header and not the padding after it.
        match u16::try_from(self.bytes.len() - start) {
            Ok(len) => self.bytes[start..start + 2].copy_from_slice(&len.to_ne_bytes()),
            Err(_) => *self.overflow = true,
        }
        pad(self.bytes);
        self
    }
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(align(bytes.len()), 0);
}

#[cfg(test)]
mod tests {
    use super::super::{ACK, Messages};
    use super::Batch;

    #[test]
    fn what_is_built_can_be_read() {
        let mut batch = Batch::new();
        batch.message(7, 0, &[1, 2, 3, 4], |a| {
            a.text(1, "eth0").nest(2, |a| {
                a.u32(3, 9).u8(4, 1);
            });
        });
        batch.message(8, ACK, &[0; 4], |_| ());
        assert_eq!(batch.answers(), 1);
        let bytes = batch.finish(40).unwrap();
        let messages: Vec<_> = Messages::new(bytes).collect();
        assert_eq!(messages.iter().map(|m| (m.kind, m.seq)).collect::<Vec<_>>(), [(7, 40), (8, 41)]);
        let attrs = messages[0].attributes(4);
        assert_eq!(attrs.get(1).and_then(|a| a.text()), Some("eth0"));
        let nested = attrs.get(2).unwrap().nested();
        assert_eq!(nested.get(3).and_then(|a| a.u32()), Some(9));
        assert_eq!(nested.get(4).and_then(|a| a.u8()), Some(1));
    }

    #[test]
    fn an_attribute_too_large_spoils_the_batch() {
        let mut batch = Batch::new();
        batch.message(7, 0, &[], |a| {
            a.bytes(1, &vec![0; 65_532]);
        });
        assert!(batch.finish(0).is_none());
    }
}
