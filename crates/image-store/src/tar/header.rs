//! The 512-byte header block.

use super::TarError;

pub(super) const BLOCK: usize = 512;
pub(super) type Block = [u8; BLOCK];

/// The fixed fields of a header block.
pub(super) struct Header<'a>(pub(super) &'a Block);

impl<'a> Header<'a> {
    /// Checks the checksum, which old programs summed with signed bytes.
    pub(super) fn verify(&self) -> Result<(), TarError> {
        let stored = number(&self.0[148..156]).ok_or(TarError::Header("the checksum is not a number"))?;
        let summed = |byte: fn(u8) -> i64| -> i64 {
            self.0.iter().enumerate().map(|(i, &b)| byte(if (148..156).contains(&i) { b' ' } else { b })).sum()
        };
        if stored == summed(i64::from) || stored == summed(|b| i64::from(b.cast_signed())) {
            return Ok(());
        }
        Err(TarError::Header("the checksum does not match"))
    }

    pub(super) fn kind(&self) -> u8 {
        self.0[156]
    }

    /// The name, with the ustar prefix. GNU archives use the prefix's bytes for other things.
    pub(super) fn path(&self) -> Vec<u8> {
        let name = text(&self.0[..100]);
        let prefix = if &self.0[257..263] == b"ustar\0" { text(&self.0[345..500]) } else { &[] };
        if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
    }

    pub(super) fn link(&self) -> &'a [u8] {
        text(&self.0[157..257])
    }

    pub(super) fn mode(&self) -> Result<u32, TarError> {
        // Some programs store the file type there too.
        Ok((self.field(100..108, "mode")? & 0o7777) as u32)
    }

    pub(super) fn uid(&self) -> Result<u32, TarError> {
        id(self.field(108..116, "uid")?)
    }

    pub(super) fn gid(&self) -> Result<u32, TarError> {
        id(self.field(116..124, "gid")?)
    }

    pub(super) fn size(&self) -> Result<u64, TarError> {
        u64::try_from(self.field(124..136, "size")?).map_err(|_| TarError::Header("the size is negative"))
    }

    pub(super) fn mtime(&self) -> Result<i64, TarError> {
        self.field(136..148, "mtime")
    }

    /// Major and minor device number.
    pub(super) fn device(&self) -> Result<(u32, u32), TarError> {
        let part = |n: i64| u32::try_from(n).map_err(|_| TarError::Header("the device number is out of range"));
        Ok((part(self.field(329..337, "major")?)?, part(self.field(337..345, "minor")?)?))
    }

    /// The four map entries in an old GNU sparse header, whether more follow, and the real size.
    pub(super) fn gnu_sparse(&self) -> (&'a [u8], bool, Result<u64, TarError>) {
        let size = number(&self.0[483..495]).and_then(|n| u64::try_from(n).ok()).ok_or(TarError::Sparse);
        (&self.0[386..482], self.0[482] != 0, size)
    }

    fn field(&self, at: std::ops::Range<usize>, name: &'static str) -> Result<i64, TarError> {
        number(&self.0[at]).ok_or(TarError::Header(match name {
            "mode" => "the mode is not a number",
            "uid" | "gid" => "the owner is not a number",
            "size" => "the size is not a number",
            "mtime" => "the time is not a number",
            _ => "the device number is not a number",
        }))
    }
}

pub(super) fn id(n: i64) -> Result<u32, TarError> {
    // The largest value means "no change" to chown.
    u32::try_from(n).ok().filter(|&n| n != u32::MAX).ok_or(TarError::Header("the owner is out of range"))
}

/// Up to the first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|&b| b == 0).next().unwrap_or_default()
}

/// Octal text, or GNU's base 256: the top bit is set and the rest is a big-endian two's complement number.
pub(super) fn number(field: &[u8]) -> Option<i64> {
    let first = *field.first()?;
    if first & 0x80 == 0 {
        return octal(field);
    }
    let negative = first & 0x40 != 0;
    // Sign-extend the 7 bits of the first byte.
    let mut value = i128::from(if negative { i64::from(first) - 0x100 } else { i64::from(first & 0x7f) });
    for &byte in &field[1..] {
        value = value.checked_mul(256)?.checked_add(i128::from(byte))?;
        i64::try_from(value).ok()?;
    }
    i64::try_from(value).ok()
}

fn octal(field: &[u8]) -> Option<i64> {
    let blank = |b: &u8| matches!(b, b' ' | 0);
    let start = field.iter().take_while(|b| blank(b)).count();
    let digits = field[start..].split(blank).next().unwrap_or_default();
    digits.iter().try_fold(0i64, |n, &d| match d {
        b'0'..=b'7' => n.checked_mul(8)?.checked_add(i64::from(d - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers() {
        for (field, value) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   755 \0", Some(0o755)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"77777777777\0", Some(0o77_777_777_777)),
            (b"\x80\0\0\0\0\0\x01\0", Some(256)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"\x80\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
            (b"12x\0", None),
            (b"-1\0", None),
        ] {
            assert_eq!(number(field), value, "{field:?}");
        }
    }
}
