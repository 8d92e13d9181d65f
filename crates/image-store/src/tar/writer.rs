//! Archives in the form in which Docker writes them: ustar headers, and PAX records for what does not fit.

use super::{
    Entry, Kind,
    header::{BLOCK, Block},
};
use std::io::{self, Write};

/// The largest number in a header's seven and eleven octal digits.
const MAX_SMALL: u64 = 0o777_7777;
const MAX_LARGE: u64 = 0o777_7777_7777;
/// As much as the readers here and elsewhere take.
const MAX_RECORDS: usize = 1 << 20;
const ZEROS: [u8; 16 << 10] = [0; 16 << 10];

/// An archive being written to a stream.
pub struct Writer<W> {
    out: W,
    /// Data that the current entry still needs.
    remaining: u64,
    /// Zeros after it, up to the block's end.
    padding: u64,
}

impl<W: Write> Writer<W> {
    /// An archive that goes to `out`, which should take small writes well.
    pub fn new(out: W) -> Self {
        Self { out, remaining: 0, padding: 0 }
    }

    /// Begins an entry; a file's `size` bytes of data must follow. Times are cut to seconds, as Docker cuts them.
    pub fn begin(&mut self, entry: &Entry) -> io::Result<()> {
        debug_assert_eq!(self.remaining, 0, "the entry before is not complete");
        let size = if entry.kind == Kind::File { entry.size } else { 0 };
        let records = records(entry, size);
        if records.len() > MAX_RECORDS {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its name and attributes are too large"));
        }
        if !records.is_empty() {
            self.out.write_all(&records_header(entry, records.len() as u64))?;
            self.out.write_all(&records)?;
            self.zeros(padding(records.len() as u64))?;
        }
        self.out.write_all(&header(entry, size))?;
        self.remaining = size;
        self.padding = padding(size);
        self.pad_if_complete()
    }

    /// Bytes that the current entry still needs.
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    /// Writes data of the current entry; no more than remains of it.
    pub fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        debug_assert!(bytes.len() as u64 <= self.remaining);
        self.out.write_all(bytes)?;
        self.remaining -= bytes.len() as u64;
        self.pad_if_complete()
    }

    /// Writes a hole of the current entry.
    pub fn hole(&mut self, length: u64) -> io::Result<()> {
        debug_assert!(length <= self.remaining);
        self.zeros(length)?;
        self.remaining -= length;
        self.pad_if_complete()
    }

    /// Writes the end of the archive.
    pub fn finish(mut self) -> io::Result<()> {
        self.zeros(2 * BLOCK as u64)?;
        self.out.flush()
    }

    fn pad_if_complete(&mut self) -> io::Result<()> {
        if self.remaining > 0 {
            return Ok(());
        }
        let padding = std::mem::take(&mut self.padding);
        self.zeros(padding)
    }

    fn zeros(&mut self, mut length: u64) -> io::Result<()> {
        while length > 0 {
            let piece = length.min(ZEROS.len() as u64);
            self.out.write_all(&ZEROS[..piece as usize])?;
            length -= piece;
        }
        Ok(())
    }
}

fn padding(size: u64) -> u64 {
    size.next_multiple_of(BLOCK as u64) - size
}

fn header(entry: &Entry, size: u64) -> Block {
    let mut block = [0; BLOCK];
    text(&mut block[..100], &entry.path);
    octal(&mut block[100..108], u64::from(entry.mode | type_bits(entry.kind)));
    octal(&mut block[108..116], u64::from(entry.uid));
    octal(&mut block[116..124], u64::from(entry.gid));
    octal(&mut block[124..136], size);
    octal(&mut block[136..148], u64::try_from(entry.mtime.seconds).unwrap_or(0));
    block[156] = flag(entry.kind);
    text(&mut block[157..257], &entry.link);
    let (major, minor) = entry.device;
    device(&mut block[329..337], major);
    device(&mut block[337..345], minor);
    seal(block)
}

/// The header before the records; its name is for programs that do not know what it is.
fn records_header(entry: &Entry, size: u64) -> Block {
    let mut block = [0; BLOCK];
    let path = entry.path.strip_suffix(b"/").unwrap_or(&entry.path);
    let (parent, name) = crate::extract::split(path);
    let slash: &[u8] = if parent.is_empty() { b"" } else { b"/" };
    text(&mut block[..100], &[parent, slash, b"PaxHeaders.0/", name].concat());
    for field in [100..108, 108..116, 116..124] {
        octal(&mut block[field], 0);
    }
    octal(&mut block[124..136], size);
    octal(&mut block[136..148], 0);
    block[156] = b'x';
    seal(block)
}

fn seal(mut block: Block) -> Block {
    block[257..265].copy_from_slice(b"ustar\x0000");
    block[148..156].fill(b' ');
    let sum = block.iter().map(|&b| u64::from(b)).sum();
    octal(&mut block[148..155], sum);
    block
}

/// Everything about an entry that its header has no room for.
fn records(entry: &Entry, size: u64) -> Vec<u8> {
    let mut all = Vec::new();
    if !fits(&entry.path) {
        record(&mut all, b"path", &entry.path);
    }
    if !fits(&entry.link) {
        record(&mut all, b"linkpath", &entry.link);
    }
    for (key, value, most) in [
        (&b"size"[..], size, MAX_LARGE),
        (b"uid", u64::from(entry.uid), MAX_SMALL),
        (b"gid", u64::from(entry.gid), MAX_SMALL),
    ] {
        if value > most {
            record(&mut all, key, value.to_string().as_bytes());
        }
    }
    if !u64::try_from(entry.mtime.seconds).is_ok_and(|seconds| seconds <= MAX_LARGE) {
        record(&mut all, b"mtime", entry.mtime.seconds.to_string().as_bytes());
    }
    for (name, value) in &entry.xattrs {
        // There is no way to write such a name.
        if !name.contains(&b'=') {
            record(&mut all, &[b"SCHILY.xattr.", name.as_slice()].concat(), value);
        }
    }
    all
}

/// `length key=value\n`, where the length counts its own digits.
fn record(all: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    all.extend_from_slice(length.to_string().as_bytes());
    all.push(b' ');
    all.extend_from_slice(key);
    all.push(b'=');
    all.extend_from_slice(value);
    all.push(b'\n');
}

/// Whether a header can say it. What is not ASCII has no agreed encoding there.
fn fits(name: &[u8]) -> bool {
    name.len() <= 100 && name.is_ascii()
}

fn text(field: &mut [u8], value: &[u8]) {
    let length = value.len().min(field.len());
    field[..length].copy_from_slice(&value[..length]);
}

/// A number that does not fit is in a record, and the field left at zero.
fn octal(field: &mut [u8], value: u64) {
    let digits = field.len() - 1;
    let value = if value < 1 << (3 * digits) { value } else { 0 };
    field[..digits].copy_from_slice(format!("{value:0digits$o}").as_bytes());
    field[digits] = 0;
}

/// There are no records for device numbers; large ones take GNU's binary form.
fn device(field: &mut [u8], value: u32) {
    if u64::from(value) <= MAX_SMALL {
        return octal(field, value.into());
    }
    field.fill(0);
    field[0] = 0x80;
    let at = field.len() - 4;
    field[at..].copy_from_slice(&value.to_be_bytes());
}

fn flag(kind: Kind) -> u8 {
    match kind {
        Kind::File => b'0',
        Kind::HardLink => b'1',
        Kind::Symlink => b'2',
        Kind::CharDevice => b'3',
        Kind::BlockDevice => b'4',
        Kind::Directory => b'5',
        Kind::Fifo => b'6',
    }
}

/// Docker has always written the file's type beside its permissions.
fn type_bits(kind: Kind) -> u32 {
    match kind {
        Kind::File | Kind::HardLink => 0o100_000,
        Kind::Symlink => 0o120_000,
        Kind::CharDevice => 0o020_000,
        Kind::BlockDevice => 0o060_000,
        Kind::Directory => 0o040_000,
        Kind::Fifo => 0o010_000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tar::{Archive, Time};

    fn entry(path: &[u8], kind: Kind) -> Entry {
        Entry {
            path: path.to_vec(),
            link: Vec::new(),
            kind,
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: Time { seconds: 1_000_000_000, nanos: 0 },
            device: (0, 0),
            size: 0,
            sparse: None,
            xattrs: Vec::new(),
        }
    }

    fn round_trip(entry: &Entry, data: &[u8]) -> Entry {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        writer.begin(entry).unwrap();
        if !data.is_empty() {
            writer.data(data).unwrap();
        }
        writer.finish().unwrap();
        assert!(bytes.len().is_multiple_of(BLOCK));
        let mut archive = Archive::new(bytes.as_slice());
        let back = archive.next_entry().unwrap().unwrap();
        assert_eq!(archive.data().unwrap(), data);
        assert!(archive.next_entry().unwrap().is_none());
        back
    }

    #[test]
    fn what_fits_takes_one_header() {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        writer.begin(&entry(b"a/", Kind::Directory)).unwrap();
        writer.finish().unwrap();
        assert_eq!(bytes.len(), 3 * BLOCK);
        assert_eq!(&bytes[100..108], b"0040644\0");
        assert_eq!(&bytes[257..265], b"ustar\x0000");
    }

    #[test]
    fn what_does_not_fit_comes_back() {
        let mut wanted = entry(&[b"d/".repeat(150), "ü".into()].concat(), Kind::File);
        wanted.uid = 4_000_000_000;
        wanted.gid = 3_000_000;
        wanted.mtime.seconds = -5;
        wanted.size = 3;
        wanted.xattrs = vec![(b"user.a".to_vec(), b"x\ny=\0z".to_vec()), (b"user.b".to_vec(), vec![7; 90])];
        let back = round_trip(&wanted, b"abc");
        assert_eq!((back.path, back.uid, back.gid, back.mtime), (wanted.path, wanted.uid, wanted.gid, wanted.mtime));
        assert_eq!(back.xattrs, wanted.xattrs);
        let mut link = entry(b"l", Kind::Symlink);
        link.link = vec![b'x'; 4000];
        assert_eq!(round_trip(&link, b"").link, link.link);
        let mut device = entry(b"dev", Kind::BlockDevice);
        device.device = (259, 10_000_000);
        assert_eq!(round_trip(&device, b"").device, device.device);
    }

    #[test]
    fn lengths_of_records_count_themselves() {
        for size in 80..1100 {
            let mut all = Vec::new();
            record(&mut all, b"k", &vec![b'v'; size]);
            let said: usize = std::str::from_utf8(all.split(|&b| b == b' ').next().unwrap()).unwrap().parse().unwrap();
            assert_eq!(said, all.len());
        }
    }

    #[test]
    fn holes_are_zeros() {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        let mut wanted = entry(b"sparse", Kind::File);
        wanted.size = 100_000;
        writer.begin(&wanted).unwrap();
        writer.data(b"start").unwrap();
        writer.hole(writer.remaining() - 3).unwrap();
        writer.data(b"end").unwrap();
        writer.finish().unwrap();
        let data = &bytes[BLOCK..BLOCK + 100_000];
        assert!(data.starts_with(b"start\0") && data.ends_with(b"\0end"));
        assert_eq!(bytes.len(), BLOCK + 100_000_usize.next_multiple_of(BLOCK) + 2 * BLOCK);
    }
}
