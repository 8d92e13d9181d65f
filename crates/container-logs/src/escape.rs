//! JSON strings as Docker's json-file writes them, byte for byte: Go's HTML-safe escapes, no short
//! form for tab, and `\ufffd` for every byte that is not UTF-8.

use memchr::memchr;

const HEX: &[u8; 16] = b"0123456789abcdef";
const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Appends `text`, escaped, without quotes.
pub(crate) fn escape(out: &mut Vec<u8>, mut text: &[u8]) {
    loop {
        let (plain, rest) = text.split_at(plain_prefix(text));
        out.extend_from_slice(plain);
        match rest.first() {
            None => return,
            Some(0x80..) => {
                let run = rest.iter().position(u8::is_ascii).unwrap_or(rest.len());
                escape_high(out, &rest[..run]);
                text = &rest[run..];
            }
            Some(&byte) => {
                escape_ascii(out, byte);
                text = &rest[1..];
            }
        }
    }
}

/// Length of the prefix that is copied as it is: printable ASCII without `"`, `\`, `<`, `>`, `&`.
///
/// Eight bytes at a time: log text is mostly plain, and this loop decides the writer's speed.
fn plain_prefix(text: &[u8]) -> usize {
    let (words, rest) = text.as_chunks::<8>();
    for (i, word) in words.iter().enumerate() {
        let marks = special_bytes(u64::from_le_bytes(*word));
        if marks != 0 {
            return i * 8 + (marks.trailing_zeros() / 8) as usize;
        }
    }
    words.len() * 8 + rest.iter().position(|b| !is_plain(*b)).unwrap_or(rest.len())
}

/// The high bit of every byte that is not plain. A borrow may mark bytes above the first marked
/// one wrongly; only the lowest mark is exact.
const fn special_bytes(word: u64) -> u64 {
    // `"` and `&` differ in bit 2 only, `<` and `>` in bit 1 only.
    let controls = word.wrapping_sub(ONES * 0x20) & !word;
    let quotes = zero_bytes((word | (ONES * 4)) ^ (ONES * b'&' as u64));
    let angles = zero_bytes((word | (ONES * 2)) ^ (ONES * b'>' as u64));
    let backslashes = zero_bytes(word ^ (ONES * b'\\' as u64));
    (word | controls | quotes | angles | backslashes) & HIGH
}

const fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word
}

const fn is_plain(byte: u8) -> bool {
    byte >= 0x20 && byte < 0x80 && !matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&')
}

fn escape_ascii(out: &mut Vec<u8>, byte: u8) {
    match byte {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        _ => {
            let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
        }
    }
}

/// Bytes above 0x7f only, so that every sequence of UTF-8 in it is whole or invalid.
fn escape_high(out: &mut Vec<u8>, run: &[u8]) {
    for chunk in run.utf8_chunks() {
        escape_separators(out, chunk.valid().as_bytes());
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
}

/// U+2028 and U+2029 (E2 80 A8, E2 80 A9) would end a line in JavaScript.
fn escape_separators(out: &mut Vec<u8>, mut text: &[u8]) {
    while let Some(at) = memchr(0xE2, text) {
        out.extend_from_slice(&text[..at]);
        text = &text[at..];
        match text {
            [_, 0x80, last @ (0xA8 | 0xA9), ..] => {
                out.extend_from_slice(&[b'\\', b'u', b'2', b'0', b'2', HEX[usize::from(last & 15)]]);
            }
            _ => out.extend_from_slice(&text[..3]),
        }
        text = &text[3..];
    }
    out.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(text: &[u8]) -> String {
        let mut out = Vec::new();
        escape(&mut out, text);
        String::from_utf8(out).expect("escaped text is UTF-8")
    }

    #[test]
    fn as_dockerd_20_10_writes_it() {
        let text = b"tab\there \"q\" \\ <&> \x01\x1f\x7f caf\xc3\xa9 \xc3( \xf0\x9f\xa6\x80 \xe2\x80\xa8 \xed\xa0\x80 \xc0\x80\n";
        let expected = "tab\\u0009here \\\"q\\\" \\\\ \\u003c\\u0026\\u003e \\u0001\\u001f\x7f café \\ufffd( 🦀 \
                        \\u2028 \\ufffd\\ufffd\\ufffd \\ufffd\\ufffd\\n";
        assert_eq!(escaped(text), expected);
        assert_eq!(escaped("\u{2029}\u{2027}\u{202a}\r".as_bytes()), "\\u2029\u{2027}\u{202a}\\r");
    }

    #[test]
    fn words_and_bytes_agree_for_every_byte_at_every_place() {
        for byte in 0..=255_u8 {
            for place in 0..24 {
                let mut text = *b"abcdefghijklmnopqrstuvwx";
                text[place] = byte;
                let expected = text.iter().position(|b| !is_plain(*b)).unwrap_or(text.len());
                assert_eq!(plain_prefix(&text), expected, "byte {byte:#x} at {place}");
            }
        }
    }

    #[test]
    fn two_special_bytes_side_by_side() {
        for first in 0..=255_u8 {
            for second in 0..=255_u8 {
                let text = [b'a', b'b', first, second, b'e', b'f', b'g', b'h'];
                let expected = text.iter().position(|b| !is_plain(*b)).unwrap_or(text.len());
                assert_eq!(plain_prefix(&text), expected);
            }
        }
    }
}
