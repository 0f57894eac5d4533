//! The text in tokens, as the parser's lexer sees them: for positions and for limits, not for meaning.

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenKind {
    Word,
    /// A number or duration.
    Number,
    Text,
    /// `{…}`, whole.
    Braces,
    /// `[…]`, whole.
    Brackets,
    Sign,
}

/// A piece of the text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token<'a> {
    pub(super) kind: TokenKind,
    pub(super) text: &'a str,
    /// In bytes.
    pub(super) start: usize,
}

/// Splits the text; what cannot be is left to the parser to refuse.
pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let start = at;
        let kind = match byte {
            b if b.is_ascii_whitespace() => {
                at += 1;
                continue;
            }
            b'#' => {
                at += bytes[at..].iter().take_while(|b| !matches!(b, b'\n' | b'\r')).count();
                continue;
            }
            b'"' | b'\'' | b'`' => {
                at = after_text(bytes, at);
                TokenKind::Text
            }
            b'{' => {
                at = after_block(bytes, at, b'}');
                TokenKind::Braces
            }
            b'[' => {
                at = after_block(bytes, at, b']');
                TokenKind::Brackets
            }
            b if b.is_ascii_digit() || b == b'.' => {
                at = after_number(bytes, at);
                TokenKind::Number
            }
            b if b.is_ascii_alphabetic() || b == b'_' || b == b':' => {
                let word = |b: &&u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':');
                at += bytes[at..].iter().take_while(word).count();
                TokenKind::Word
            }
            _ => {
                let pair = bytes.get(at..at + 2);
                let two = matches!(pair, Some(b"==" | b"!=" | b"<=" | b">=" | b"</" | b">/"));
                let wide = text[at..].chars().next().map_or(1, char::len_utf8);
                at += if two { 2 } else { wide };
                TokenKind::Sign
            }
        };
        found.push(Token { kind, text: &text[start..at], start });
    }
    found
}

fn after_number(bytes: &[u8], mut at: usize) -> usize {
    let hex = bytes[at] == b'0' && matches!(bytes.get(at + 1), Some(b'x' | b'X'));
    while let Some(&byte) = bytes.get(at) {
        let exponent_sign =
            !hex && matches!(byte, b'+' | b'-') && at > 0 && matches!(bytes[at - 1], b'e' | b'E');
        if !(byte.is_ascii_alphanumeric() || byte == b'.' || exponent_sign) {
            break;
        }
        at += 1;
    }
    at
}

fn after_text(bytes: &[u8], at: usize) -> usize {
    let quote = bytes[at];
    let mut end = at + 1;
    while let Some(&byte) = bytes.get(end) {
        match byte {
            b'\\' => end += 2,
            b if b == quote => return end + 1,
            _ => end += 1,
        }
    }
    bytes.len()
}

fn after_block(bytes: &[u8], at: usize, close: u8) -> usize {
    let mut end = at + 1;
    while let Some(&byte) = bytes.get(end) {
        match byte {
            b'"' | b'\'' | b'`' => end = after_text(bytes, end),
            b if b == close => return end + 1,
            _ => end += 1,
        }
    }
    bytes.len()
}

/// Whether a quoted string is text once its `\\x` and octal escapes are bytes.
pub(super) fn is_text(quoted: &str) -> bool {
    if quoted.starts_with('`') || !quoted.contains('\\') {
        return true;
    }
    let bytes = quoted.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let digits = |from: usize, to: usize, radix: u32| {
            let digits = quoted.get(from..to)?;
            u32::from_str_radix(digits, radix).ok().and_then(|n| u8::try_from(n).ok())
        };
        let (value, length) = match (byte, bytes.get(at + 1)) {
            (b'\\', Some(b'x')) => (digits(at + 2, at + 4, 16), 4),
            (b'\\', Some(b'0'..=b'7')) => (digits(at + 1, at + 4, 8), 4),
            (b'\\', Some(_)) => (Some(b'.'), 2),
            _ => (Some(byte), 1),
        };
        decoded.push(value.unwrap_or(b'.'));
        at += length;
    }
    std::str::from_utf8(&decoded).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        for (text, expected) in [
            (
                "sum by (a) (x{b=\"}\"}[5m:1m] @ start())",
                vec![
                    "sum",
                    "by",
                    "(",
                    "a",
                    ")",
                    "(",
                    "x",
                    "{b=\"}\"}",
                    "[5m:1m]",
                    "@",
                    "start",
                    "(",
                    ")",
                    ")",
                ],
            ),
            (
                "1e-3 +0x1f >= bool 5m30s # comment",
                vec!["1e-3", "+", "0x1f", ">=", "bool", "5m30s"],
            ),
            ("'a\\'b' == \"c\"", vec!["'a\\'b'", "==", "\"c\""]),
        ] {
            let found: Vec<_> = tokens(text).iter().map(|t| t.text).collect();
            assert_eq!(found, expected, "{text}");
        }
        for (quoted, text) in [
            (r#""a\xc5z""#, false),
            (r#""\xc3\xa9""#, true),
            (r#""\303\251 \n \u00e9 é""#, true),
            (r#"'\377'"#, false),
            ("`\\xff`", true),
        ] {
            assert_eq!(is_text(quoted), text, "{quoted}");
        }
        // Never beyond the end, never within a character.
        for text in ["\"\\", "{\"", "[", "é", "'é\\", "1e"] {
            let _ = tokens(text);
        }
    }
}
