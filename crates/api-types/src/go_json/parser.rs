//! The parser: JSON text to nodes, with Go's messages for what is not JSON.

use super::{
    GoJsonError,
    node::{Document, Node},
};

/// How deep arrays and objects may nest. Go allows 10000; no request of the API needs ten, and each
/// level costs a stack frame here.
const MAX_DEPTH: usize = 128;

pub(super) struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
}

type Result<T> = std::result::Result<T, GoJsonError>;

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0, depth: 0 }
    }

    pub(super) fn document(mut self) -> Result<Document> {
        self.skip_space();
        if self.at == self.text.len() {
            return Err(GoJsonError("EOF".into()));
        }
        self.value().map(Document)
    }

    fn skip_space(&mut self) {
        while matches!(self.text.get(self.at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    /// The next byte that is not white space, without consuming it.
    fn peek(&mut self) -> Result<u8> {
        self.skip_space();
        self.here()
    }

    /// The next byte, without consuming it.
    fn here(&self) -> Result<u8> {
        self.text.get(self.at).copied().ok_or_else(|| GoJsonError("unexpected EOF".into()))
    }

    /// The current byte is not allowed here.
    fn invalid<T>(&self, context: &str) -> Result<T> {
        let quoted = match self.here()? {
            b'\'' => r"'\''".to_owned(),
            b'"' => r#"'"'"#.to_owned(),
            b'\n' => r"'\n'".to_owned(),
            b'\r' => r"'\r'".to_owned(),
            b'\t' => r"'\t'".to_owned(),
            b'\\' => r"'\\'".to_owned(),
            // Go quotes a byte above ASCII as if it were a Latin-1 character.
            c @ (0x20..0x7f | 0xa1..=0xff) => format!("'{}'", char::from(c)),
            c => format!("'\\x{c:02x}'"),
        };
        Err(GoJsonError(format!("invalid character {quoted} {context}")))
    }

    fn value(&mut self) -> Result<Node> {
        match self.peek()? {
            b'{' => self.nested(Self::object),
            b'[' => self.nested(Self::array),
            b'"' => self.string().map(Node::String),
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.literal("true", Node::Bool(true)),
            b'f' => self.literal("false", Node::Bool(false)),
            b'n' => self.literal("null", Node::Null),
            _ => self.invalid("looking for beginning of value"),
        }
    }

    fn nested(&mut self, parse: fn(&mut Self) -> Result<Node>) -> Result<Node> {
        if self.depth == MAX_DEPTH {
            return Err(GoJsonError("exceeded max depth".into()));
        }
        self.depth += 1;
        self.at += 1;
        let node = parse(self);
        self.depth -= 1;
        node
    }

    fn object(&mut self) -> Result<Node> {
        let mut members = Vec::new();
        if self.peek()? == b'}' {
            self.at += 1;
            return Ok(Node::Object(members));
        }
        loop {
            if self.peek()? != b'"' {
                return self.invalid("looking for beginning of object key string");
            }
            let key = self.string()?;
            if self.peek()? != b':' {
                return self.invalid("after object key");
            }
            self.at += 1;
            members.push((key, self.value()?));
            match self.peek()? {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Ok(Node::Object(members));
                }
                _ => return self.invalid("after object key:value pair"),
            }
        }
    }

    fn array(&mut self) -> Result<Node> {
        let mut items = Vec::new();
        if self.peek()? == b']' {
            self.at += 1;
            return Ok(Node::Array(items));
        }
        loop {
            items.push(self.value()?);
            match self.peek()? {
                b',' => self.at += 1,
                b']' => {
                    self.at += 1;
                    return Ok(Node::Array(items));
                }
                _ => return self.invalid("after array element"),
            }
        }
    }

    fn literal(&mut self, word: &'static str, node: Node) -> Result<Node> {
        for expected in word.bytes() {
            if self.here()? != expected {
                return self.invalid(&format!("in literal {word} (expecting '{}')", char::from(expected)));
            }
            self.at += 1;
        }
        Ok(node)
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.text.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        self.at - start
    }

    fn number(&mut self) -> Result<Node> {
        let start = self.at;
        if self.here()? == b'-' {
            self.at += 1;
        }
        if self.here()? == b'0' {
            self.at += 1;
        } else if self.digits() == 0 {
            return self.invalid("in numeric literal");
        }
        if self.text.get(self.at) == Some(&b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return self.invalid("after decimal point in numeric literal");
            }
        }
        if matches!(self.text.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.text.get(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if self.digits() == 0 {
                return self.invalid("in exponent of numeric literal");
            }
        }
        Ok(Node::Number(self.text[start..self.at].iter().copied().map(char::from).collect()))
    }

    /// A string; bytes that are not UTF-8 and lone surrogates become U+FFFD, as in Go.
    fn string(&mut self) -> Result<String> {
        self.at += 1;
        let mut bytes = Vec::new();
        loop {
            match self.here()? {
                b'"' => {
                    self.at += 1;
                    return Ok(match String::from_utf8(bytes) {
                        Ok(text) => text,
                        Err(e) => String::from_utf8_lossy(e.as_bytes()).into_owned(),
                    });
                }
                b'\\' => {
                    self.at += 1;
                    let c = self.escape()?;
                    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                }
                0..=0x1f => return self.invalid("in string literal"),
                byte => {
                    bytes.push(byte);
                    self.at += 1;
                }
            }
        }
    }

    /// What follows a backslash.
    fn escape(&mut self) -> Result<char> {
        let c = match self.here()? {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                self.at += 1;
                return self.unicode_escape();
            }
            _ => return self.invalid("in string escape code"),
        };
        self.at += 1;
        Ok(c)
    }

    fn unicode_escape(&mut self) -> Result<char> {
        let unit = self.hex4()?;
        if !(0xd800..0xdc00).contains(&unit) || !self.text[self.at..].starts_with(b"\\u") {
            return Ok(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        let before_low = self.at;
        self.at += 2;
        let low = self.hex4()?;
        if !(0xdc00..0xe000).contains(&low) {
            self.at = before_low;
            return Ok(char::REPLACEMENT_CHARACTER);
        }
        let code = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
        Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn hex4(&mut self) -> Result<u32> {
        let mut unit = 0;
        for _ in 0..4 {
            let Some(digit) = char::from(self.here()?).to_digit(16) else {
                return self.invalid("in \\u hexadecimal character escape");
            };
            unit = unit * 16 + digit;
            self.at += 1;
        }
        Ok(unit)
    }
}
