//! What tables, chains and rules there are.

use super::super::{ACK, Batch, DUMP, Error, Message, Socket};
use super::{
    DELCHAIN, DELRULE, Family, GETCHAIN, GETRULE, GETTABLE, INET, NEWCHAIN, NEWRULE, NFTA_DATA_VERDICT,
    NFTA_RULE_EXPRESSIONS, NFTA_RULE_USERDATA, SUBSYSTEM, userdata,
};
use rustix::io::Errno;

/// A table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Where<'a> {
    /// Its family; `None` for `inet`.
    pub family: Option<Family>,
    /// Its name.
    pub table: &'a str,
}

impl<'a> Where<'a> {
    /// A table of family `inet`.
    pub const fn inet(table: &'a str) -> Self {
        Self { family: None, table }
    }

    fn header(&self) -> [u8; 4] {
        self.family.map_or(INET, |family| [family.number(), 0, 0, 0])
    }
}

/// Whether the table exists.
pub fn table_exists(socket: &mut Socket, table: &str) -> Result<bool, Error> {
    let mut batch = Batch::new();
    batch.message(SUBSYSTEM << 8 | GETTABLE, ACK, &INET, |a| {
        a.text(1, table);
    });
    match socket.transact(&mut batch) {
        Ok(()) => Ok(true),
        Err(e) if e.errno() == Some(Errno::NOENT) => Ok(false),
        Err(e) => Err(e),
    }
}

/// The names of a table's chains; none if there is no table.
pub fn chains(socket: &mut Socket, at: Where<'_>) -> Result<Vec<String>, Error> {
    let mut batch = Batch::new();
    batch.message(SUBSYSTEM << 8 | GETCHAIN, DUMP, &at.header(), |_| ());
    socket.dump(&mut batch, |message| {
        let attrs = message.attributes(INET.len());
        let of_table = attrs.get(1).and_then(|a| a.text()) == Some(at.table);
        of_table.then(|| attrs.get(3).and_then(|a| a.text()).map(str::to_owned)).flatten()
    })
}

/// A rule, as far as it is of interest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// What the kernel calls it.
    pub handle: u64,
    /// What is written about it.
    userdata: Vec<u8>,
    /// Whether all that it does is to end the chain (and to count).
    pub returns: bool,
}

impl Listed {
    /// Whether it has that comment.
    pub fn has_comment(&self, comment: &str) -> bool {
        self.userdata == userdata(comment)
    }
}

/// The rules of a chain, in their order.
pub fn rules(socket: &mut Socket, at: Where<'_>, chain: &str) -> Result<Vec<Listed>, Error> {
    let mut batch = Batch::new();
    batch.message(SUBSYSTEM << 8 | GETRULE, DUMP, &at.header(), |a| {
        a.text(1, at.table).text(2, chain);
    });
    socket.dump(&mut batch, |message| {
        let attrs = message.attributes(INET.len());
        let is = |kind, text| attrs.get(kind).and_then(|a| a.text()) == Some(text);
        (is(1, at.table) && is(2, chain)).then(|| read_rule(message)).flatten()
    })
}

fn read_rule(message: &Message<'_>) -> Option<Listed> {
    const NFTA_RULE_HANDLE: u16 = 3;
    let attrs = message.attributes(INET.len());
    let handle = attrs.get(NFTA_RULE_HANDLE)?.value.first_chunk().map(|b| u64::from_be_bytes(*b))?;
    let userdata = attrs.get(NFTA_RULE_USERDATA).map(|a| a.value.to_vec()).unwrap_or_default();
    Some(Listed { handle, userdata, returns: returns(message).is_some() })
}

/// Looks at the expressions of a rule: an unconditional return, perhaps after a counter.
fn returns(message: &Message<'_>) -> Option<()> {
    const RETURN: i32 = -5;
    let expressions = message.attributes(INET.len()).get(NFTA_RULE_EXPRESSIONS)?;
    let mut found = None;
    for expression in expressions.nested() {
        let parts = expression.nested();
        match parts.get(1)?.text()? {
            "counter" => {}
            "immediate" => {
                let data = parts.get(2)?.nested().get(2)?.nested().get(NFTA_DATA_VERDICT)?;
                let code = data.nested().get(1)?.value.first_chunk().map(|b| i32::from_be_bytes(*b))?;
                found = (code == RETURN).then_some(());
            }
            _ => return None,
        }
    }
    found
}

/// What a message that everybody is told says has changed in the table: the chain where it is about one or about a
/// rule of it, else the table as a whole. `None` for what is about other tables.
pub fn changed<'m>(message: &Message<'m>, at: Where<'_>) -> Option<Option<&'m str>> {
    const RULE_CHAIN: u16 = 2;
    const CHAIN_NAME: u16 = 3;
    if message.kind >> 8 != SUBSYSTEM || message.payload.first() != Some(&at.header()[0]) {
        return None;
    }
    let attrs = message.attributes(INET.len());
    let is_about = attrs.get(1).and_then(|a| a.text()) == Some(at.table);
    let chain = match message.kind & 0xff {
        NEWCHAIN | DELCHAIN => attrs.get(CHAIN_NAME).and_then(|a| a.text()),
        NEWRULE | DELRULE => attrs.get(RULE_CHAIN).and_then(|a| a.text()),
        _ => None,
    };
    is_about.then_some(chain)
}

#[cfg(test)]
mod tests {
    use super::super::super::noise;
    use super::{INET, NEWRULE, SUBSYSTEM, Where, changed, read_rule};

    #[test]
    fn hostile_rules() {
        let mut read = 0;
        noise::messages(SUBSYSTEM << 8 | NEWRULE, INET.len(), |m| {
            read += usize::from(read_rule(m).is_some());
            let _ = changed(m, Where::inet("gantry"));
        });
        assert!(read > 0, "some of the noise makes rules");
    }
}
