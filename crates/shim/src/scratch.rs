//! The one buffer for all input, there only while there is input.

use gantry_shim_protocol::MAX_PACKET;

/// A read takes this much at most. The allocator maps and unmaps a buffer of this size, so that an
/// idle shim has none.
pub(crate) const SIZE: usize = 256 * 1024;
const _: () = assert!(SIZE >= MAX_PACKET, "a control packet must fit");

/// Allocated on first use.
#[derive(Debug, Default)]
pub(crate) struct Scratch(Vec<u8>);

impl Scratch {
    /// The buffer, taken out so that its owner can be used beside it; give it [`Scratch::back`].
    pub(crate) fn take(&mut self) -> Vec<u8> {
        if self.0.is_empty() {
            // Zeroed by the kernel, page by page as it is used.
            self.0 = vec![0; SIZE];
        }
        std::mem::take(&mut self.0)
    }

    pub(crate) fn back(&mut self, buf: Vec<u8>) {
        self.0 = buf;
    }

    pub(crate) fn is_held(&self) -> bool {
        !self.0.is_empty()
    }

    pub(crate) fn release(&mut self) {
        self.0 = Vec::new();
    }
}
