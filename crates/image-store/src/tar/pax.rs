//! PAX extended headers: `length key=value\n` records.

use super::{TarError, Time, header, sparse::Builder};

const XATTR: &[u8] = b"SCHILY.xattr.";

/// What the extended headers before an entry say about it.
#[derive(Default)]
pub(super) struct Extended {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) mtime: Option<Time>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: Builder,
}

impl Extended {
    /// Takes in the records of one header.
    pub(super) fn add(&mut self, mut records: &[u8]) -> Result<(), TarError> {
        while !records.is_empty() {
            let (key, value, rest) = split_record(records)?;
            self.record(key, value)?;
            records = rest;
        }
        Ok(())
    }

    fn record(&mut self, key: &[u8], value: &[u8]) -> Result<(), TarError> {
        match key {
            b"path" => self.path = text(value)?,
            b"linkpath" => self.link = text(value)?,
            b"size" => self.size = Some(unsigned(value)?),
            b"uid" => self.uid = Some(owner(value)?),
            b"gid" => self.gid = Some(owner(value)?),
            b"mtime" => self.mtime = time(value)?,
            b"GNU.sparse.name" => self.sparse.name = text(value)?,
            b"GNU.sparse.major" => self.sparse.major = Some(unsigned(value)?),
            b"GNU.sparse.minor" => self.sparse.minor = Some(unsigned(value)?),
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => self.sparse.real_size = Some(unsigned(value)?),
            b"GNU.sparse.offset" => self.sparse.offset(unsigned(value)?),
            b"GNU.sparse.numbytes" => self.sparse.length(unsigned(value)?)?,
            b"GNU.sparse.map" => self.sparse.map(value)?,
            _ => {
                if let Some(name) = key.strip_prefix(XATTR) {
                    self.xattr(name, value);
                }
            }
        }
        Ok(())
    }

    /// Later records override earlier ones.
    fn xattr(&mut self, name: &[u8], value: &[u8]) {
        self.xattrs.retain(|(known, _)| known != name);
        self.xattrs.push((name.to_vec(), value.to_vec()));
    }
}

/// Key, value, and what follows the record.
type Record<'r> = (&'r [u8], &'r [u8], &'r [u8]);

/// Splits one record off. The length counts the whole record, its own digits included.
fn split_record(records: &[u8]) -> Result<Record<'_>, TarError> {
    let malformed = TarError::Extended("a record is malformed");
    let space = records.iter().take(20).position(|&b| b == b' ');
    let Some(space) = space else { return Err(malformed) };
    let length =
        usize::try_from(unsigned(&records[..space])?).map_err(|_| TarError::Extended("a record is too long"))?;
    let Some(record) = records.get(space + 1..length) else { return Err(malformed) };
    let Some((b'\n', record)) = record.split_last() else { return Err(malformed) };
    let Some(equals) = record.iter().position(|&b| b == b'=') else { return Err(malformed) };
    Ok((&record[..equals], &record[equals + 1..], &records[length..]))
}

/// An empty value takes back what an earlier header said.
fn text(value: &[u8]) -> Result<Option<Vec<u8>>, TarError> {
    if value.contains(&0) {
        return Err(TarError::Extended("a name contains NUL"));
    }
    Ok(Some(value.to_vec()).filter(|v| !v.is_empty()))
}

pub(super) fn unsigned(value: &[u8]) -> Result<u64, TarError> {
    let number = std::str::from_utf8(value).ok().filter(|t| t.bytes().all(|b| b.is_ascii_digit()));
    number.and_then(|t| t.parse().ok()).ok_or(TarError::Extended("a value is not a number"))
}

fn owner(value: &[u8]) -> Result<u32, TarError> {
    header::id(i64::try_from(unsigned(value)?).unwrap_or(i64::MAX))
}

/// Seconds with an optional fraction and sign.
fn time(value: &[u8]) -> Result<Option<Time>, TarError> {
    let malformed = || TarError::Extended("a time is malformed");
    let value = std::str::from_utf8(value).map_err(|_| malformed())?;
    if value.is_empty() {
        return Ok(None);
    }
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return Err(malformed());
    }
    let seconds: i64 = whole.parse().map_err(|_| malformed())?;
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanos: u32 = digits.parse().map_err(|_| malformed())?;
    // -1.25 is 0.75 after -2.
    Ok(Some(match (whole.starts_with('-'), nanos) {
        (true, 1..) => Time { seconds: seconds.saturating_sub(1), nanos: 1_000_000_000 - nanos },
        _ => Time { seconds, nanos },
    }))
}

#[cfg(test)]
mod tests {
    use super::{Extended, Time};

    fn parse(records: &[u8]) -> Option<Extended> {
        let mut extended = Extended::default();
        extended.add(records).ok().map(|()| extended)
    }

    #[test]
    fn records() {
        let e = parse(b"9 path=a\n21 mtime=-1.25000000\n30 SCHILY.xattr.user.x=a=b\nc\n\n").unwrap();
        assert_eq!(e.path.as_deref(), Some(&b"a"[..]));
        assert_eq!(e.mtime, Some(Time { seconds: -2, nanos: 750_000_000 }));
        assert_eq!(e.xattrs, [(b"user.x".to_vec(), b"a=b\nc\n".to_vec())]);
    }

    #[test]
    fn malformed_records() {
        for bad in [
            &b"x path=a\n"[..],
            b"99 path=a\n",
            b"9 path=aa",
            b"2 \n",
            b"0 a=b\n",
            b"18446744073709551615 a=b\n",
            b"10 path=a\0\n",
            b"11 size=-1\n",
            b"20 uid=4294967295\n\n",
            b"7 mtime\n",
        ] {
            assert!(parse(bad).is_none(), "{:?}", String::from_utf8_lossy(bad));
        }
    }
}
