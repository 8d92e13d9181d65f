//! nftables: changes to one table of family `inet`, each change one transaction that holds as a whole or not
//! at all.

mod listing;
mod rule;

pub use listing::{Listed, Where, chains, changed, rules, table_exists};
pub use rule::{Address, CtState, Family, Interface, Rule, Verdict};

use super::{ACK, APPEND, Attrs, Batch, CREATE, Error, Socket};
use rustix::io::Errno;

const SUBSYSTEM: u16 = 10;
const NEWTABLE: u16 = 0;
const GETTABLE: u16 = 1;
const DELTABLE: u16 = 2;
const NEWCHAIN: u16 = 3;
const GETCHAIN: u16 = 4;
const DELCHAIN: u16 = 5;
const NEWRULE: u16 = 6;
const GETRULE: u16 = 7;
const DELRULE: u16 = 8;
const NEWSET: u16 = 9;
const NEWSETELEM: u16 = 12;
const DELSETELEM: u16 = 14;

const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;

const NFTA_LIST_ELEM: u16 = 1;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;
const NFT_JUMP: i32 = -3;

/// `struct nfgenmsg` for family `inet`.
const INET: [u8; 4] = [1, 0, 0, 0];

const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_RULE_USERDATA: u16 = 7;

/// The basic types that keys and values of sets are made of. The kernel only counts bytes; the numbers are
/// those of the `nft` command, which prints sets by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
    /// A transport protocol.
    Proto,
    /// A port.
    Port,
    /// An interface's name.
    Ifname,
    /// What happens to a packet; a value only, and alone.
    Verdict,
}

impl Type {
    const fn number(self) -> u32 {
        match self {
            Self::Verdict => 0xffff_ff00,
            Self::Ipv4 => 7,
            Self::Ipv6 => 8,
            Self::Proto => 12,
            Self::Port => 13,
            Self::Ifname => 41,
        }
    }

    /// The bytes that it takes in a concatenation: whole 32-bit registers.
    const fn size(self) -> u32 {
        match self {
            Self::Ipv4 | Self::Proto | Self::Port => 4,
            Self::Ipv6 | Self::Ifname | Self::Verdict => 16,
        }
    }
}

/// A concatenation's number as the `nft` command knows it, and its size.
fn concatenation(types: &[Type]) -> (u32, u32) {
    types.iter().fold((0, 0), |(number, size), t| (number << 6 | t.number(), size + t.size()))
}

/// Where a base chain hangs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// Packets from the wire, before routing.
    Prerouting,
    /// Packets for this host's own programs.
    Input,
    /// Packets that are forwarded.
    Forward,
    /// Packets of this host's own programs.
    Output,
    /// Packets that leave.
    Postrouting,
}

impl Hook {
    const fn number(self) -> u32 {
        match self {
            Self::Prerouting => 0,
            Self::Input => 1,
            Self::Forward => 2,
            Self::Output => 3,
            Self::Postrouting => 4,
        }
    }
}

/// What a base chain may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainType {
    /// Accept and drop.
    Filter,
    /// Translate addresses; it sees a connection's first packet only.
    Nat,
}

/// A set, or a map if it has data.
#[derive(Debug, Clone, Copy)]
pub struct Set<'a> {
    /// Its name.
    pub name: &'a str,
    /// What the keys are made of.
    pub key: &'a [Type],
    /// What the values are made of; empty for a set.
    pub data: &'a [Type],
}

/// An element of a set: key, and value in a map. Each part is padded to whole 32-bit registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// The key.
    pub key: Vec<u8>,
    /// The value.
    pub data: Data,
}

/// What an element leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// Nothing: it is a set's.
    None,
    /// Bytes.
    Value(Vec<u8>),
    /// A chain, and back after its end.
    Jump(String),
}

/// A change to one table.
#[derive(Debug)]
pub struct Transaction<'t> {
    header: [u8; 4],
    table: &'t str,
    batch: Batch,
    sets: u32,
}

impl<'t> Transaction<'t> {
    /// An empty change to `table` of family `inet`.
    pub fn new(table: &'t str) -> Self {
        Self::with_header(INET, table)
    }

    /// An empty change to somebody else's table, of another family.
    pub fn of_family(family: Family, table: &'t str) -> Self {
        Self::with_header([family.number(), 0, 0, 0], table)
    }

    fn with_header(header: [u8; 4], table: &'t str) -> Self {
        let mut batch = Batch::new();
        batch.message(BATCH_BEGIN, 0, &[0, 0, 0, SUBSYSTEM as u8], |_| ());
        Self { header, table, batch, sets: 0 }
    }

    /// Makes the table, if it is missing.
    pub fn add_table(&mut self, comment: &str) {
        const NFTA_TABLE_USERDATA: u16 = 6;
        let table = self.table;
        self.op(NEWTABLE, CREATE, |a| {
            a.text(1, table).bytes(NFTA_TABLE_USERDATA, &userdata(comment));
        });
    }

    /// Removes the table with all that is in it.
    pub fn delete_table(&mut self) {
        let table = self.table;
        self.op(DELTABLE, 0, |a| {
            a.text(1, table);
        });
    }

    /// Makes a chain that others jump to, if it is missing.
    pub fn add_chain(&mut self, name: &str, comment: &str) {
        const NFTA_CHAIN_USERDATA: u16 = 12;
        let table = self.table;
        self.op(NEWCHAIN, CREATE, |a| {
            a.text(1, table).text(3, name);
            if !comment.is_empty() {
                a.bytes(NFTA_CHAIN_USERDATA, &userdata(comment));
            }
        });
    }

    /// Makes a chain that hangs in a hook, if it is missing. What reaches its end is accepted.
    pub fn add_base_chain(&mut self, name: &str, kind: ChainType, hook: Hook, priority: i32) {
        const NFTA_CHAIN_HOOK: u16 = 4;
        const NFTA_CHAIN_TYPE: u16 = 7;
        let table = self.table;
        let kind = match kind {
            ChainType::Filter => "filter",
            ChainType::Nat => "nat",
        };
        self.op(NEWCHAIN, CREATE, |a| {
            a.text(1, table).text(3, name).text(NFTA_CHAIN_TYPE, kind);
            a.nest(NFTA_CHAIN_HOOK, |a| {
                a.be32(1, hook.number()).be32(2, priority as u32);
            });
        });
    }

    /// Removes a chain without rules that nothing leads to.
    pub fn delete_chain(&mut self, name: &str) {
        let table = self.table;
        self.op(DELCHAIN, 0, |a| {
            a.text(1, table).text(3, name);
        });
    }

    /// Removes all rules of a chain.
    pub fn flush_chain(&mut self, name: &str) {
        let table = self.table;
        self.op(DELRULE, 0, |a| {
            a.text(1, table).text(2, name);
        });
    }

    /// Adds a rule to somebody else's chain, before the one of a handle or else at its end, with a comment to know it by.
    pub fn insert_rule(
        &mut self,
        chain: &str,
        before: Option<u64>,
        comment: &str,
        write: impl FnOnce(&mut Rule<'_, '_>),
    ) {
        const NFTA_RULE_POSITION: u16 = 6;
        let table = self.table;
        self.op(NEWRULE, if before.is_some() { CREATE } else { CREATE | APPEND }, |a| {
            a.text(1, table).text(2, chain);
            if let Some(handle) = before {
                a.be64(NFTA_RULE_POSITION, handle);
            }
            a.bytes(NFTA_RULE_USERDATA, &userdata(comment));
            a.nest(NFTA_RULE_EXPRESSIONS, |a| write(&mut Rule::new(a)));
        });
    }

    /// Removes the rule of a handle.
    pub fn delete_rule(&mut self, chain: &str, handle: u64) {
        const NFTA_RULE_HANDLE: u16 = 3;
        let table = self.table;
        self.op(DELRULE, 0, |a| {
            a.text(1, table).text(2, chain).be64(NFTA_RULE_HANDLE, handle);
        });
    }

    /// Adds a rule at the end of `chain`.
    pub fn add_rule(&mut self, chain: &str, write: impl FnOnce(&mut Rule<'_, '_>)) {
        let table = self.table;
        self.op(NEWRULE, CREATE | APPEND, |a| {
            a.text(1, table).text(2, chain).nest(NFTA_RULE_EXPRESSIONS, |a| write(&mut Rule::new(a)));
        });
    }

    /// Makes a set or map, if it is missing.
    pub fn add_set(&mut self, set: Set<'_>) {
        const NFTA_SET_FLAGS: u16 = 3;
        const NFTA_SET_USERDATA: u16 = 13;
        const NFT_SET_MAP: u32 = 8;
        let table = self.table;
        self.sets += 1;
        let id = self.sets;
        let (key_type, key_len) = concatenation(set.key);
        // How `nft` is to print the keys: type 0, four bytes, 1 for the machine's byte order and 2 for the network's.
        let byte_order = if set.key == [Type::Ifname] { 1u8 } else { 2 };
        self.op(NEWSET, CREATE, |a| {
            a.text(1, table).text(2, set.name).be32(4, key_type).be32(5, key_len).be32(10, id);
            a.bytes(NFTA_SET_USERDATA, &[0, 4, byte_order, 0, 0, 0]);
            if !set.data.is_empty() {
                let (data_type, data_len) = concatenation(set.data);
                a.be32(NFTA_SET_FLAGS, NFT_SET_MAP).be32(6, data_type).be32(7, data_len);
            }
        });
    }

    /// Removes all elements of a set.
    pub fn flush_set(&mut self, name: &str) {
        let table = self.table;
        self.op(DELSETELEM, 0, |a| {
            a.text(1, table).text(2, name);
        });
    }

    /// Adds elements. One that is there already with the same value is fine; with another value it fails the
    /// transaction.
    pub fn add_elements(&mut self, set: &str, elements: &[Element]) {
        self.elements(NEWSETELEM, CREATE, set, elements);
    }

    /// Removes elements, whether they are there or not: on kernels before 6.3 the removal of a missing one
    /// fails the transaction, so they are added first.
    pub fn remove_elements(&mut self, set: &str, elements: &[Element]) {
        self.elements(NEWSETELEM, CREATE, set, elements);
        self.elements(DELSETELEM, 0, set, elements);
    }

    /// Carries the change out. A change without operations is nothing.
    pub fn commit(mut self, socket: &mut Socket) -> Result<(), Error> {
        if self.batch.len() == 1 {
            return Ok(());
        }
        // One answer is enough, and it comes after the commit. Failures are reported whether asked for or not.
        // Not on the message that ends the batch: kernels before 6.10 do not answer that one.
        self.batch.flag_last(ACK);
        self.batch.message(BATCH_END, 0, &[0, 0, 0, SUBSYSTEM as u8], |_| ());
        loop {
            match socket.transact(&mut self.batch) {
                // The thread got a signal: the kernel has done nothing of it.
                Err(e) if e.errno() == Some(Errno::INTR) => {}
                outcome => return outcome,
            }
        }
    }

    fn elements(&mut self, kind: u16, flags: u16, set: &str, elements: &[Element]) {
        /// Elements of one message, far below the 64 KiB that its list may have.
        const CHUNK: usize = 512;
        const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
        let table = self.table;
        for chunk in elements.chunks(CHUNK) {
            self.op(kind, flags, |a| {
                a.text(1, table).text(2, set).nest(NFTA_SET_ELEM_LIST_ELEMENTS, |a| {
                    for element in chunk {
                        a.nest(NFTA_LIST_ELEM, |a| element.write(a));
                    }
                });
            });
        }
    }

    fn op(&mut self, message: u16, flags: u16, fill: impl FnOnce(&mut Attrs<'_>)) {
        let header = self.header;
        self.batch.message(SUBSYSTEM << 8 | message, flags, &header, fill);
    }
}

impl Element {
    fn write(&self, attrs: &mut Attrs<'_>) {
        const NFTA_SET_ELEM_KEY: u16 = 1;
        const NFTA_SET_ELEM_DATA: u16 = 2;
        attrs.nest(NFTA_SET_ELEM_KEY, |a| {
            a.bytes(NFTA_DATA_VALUE, &self.key);
        });
        match &self.data {
            Data::None => {}
            Data::Value(value) => {
                attrs.nest(NFTA_SET_ELEM_DATA, |a| {
                    a.bytes(NFTA_DATA_VALUE, value);
                });
            }
            Data::Jump(chain) => {
                attrs.nest(NFTA_SET_ELEM_DATA, |a| {
                    a.nest(NFTA_DATA_VERDICT, |a| {
                        a.be32(1, NFT_JUMP as u32).text(2, chain);
                    });
                });
            }
        }
    }
}

/// A comment as the `nft` command stores and prints it: type 0, length, text with its zero.
fn userdata(comment: &str) -> Vec<u8> {
    /// The length is one byte, and `nft` reads at most 128.
    const MAX: usize = 127;
    let text = &comment.as_bytes()[..comment.len().min(MAX)];
    let mut data = vec![0, text.len() as u8 + 1];
    data.extend_from_slice(text);
    data.push(0);
    data
}
