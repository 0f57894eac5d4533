//! A place in the page, and what both formats ask of it.

use std::borrow::Cow;

use super::ParseError;

/// How much of the page an error shows.
const SHOWN_MAX: usize = 40;

#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
    line: u64,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(page: &'a [u8]) -> Self {
        Self { rest: page, line: 1 }
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// What stands between this place and a later one.
    pub(super) fn until(&self, later: &Self) -> &'a [u8] {
        &self.rest[..self.rest.len() - later.rest.len()]
    }

    /// Steps over one byte.
    pub(super) fn bump(&mut self) {
        if let Some((first, rest)) = self.rest.split_first() {
            self.line += u64::from(*first == b'\n');
            self.rest = rest;
        }
    }

    /// Steps over `byte` if it is next.
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        if is_next {
            self.bump();
        }
        is_next
    }

    /// Steps over `word` if it is next. It has no line break.
    pub(super) fn eat_word(&mut self, word: &str) -> bool {
        match self.rest.strip_prefix(word.as_bytes()) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// What is next as long as `wanted` holds, stepped over.
    pub(super) fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|b| !wanted(*b)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.line += taken.iter().filter(|b| **b == b'\n').count() as u64;
        self.rest = rest;
        taken
    }

    /// Blanks and tabs.
    pub(super) fn blanks(&mut self) -> usize {
        self.take_while(|b| matches!(b, b' ' | b'\t')).len()
    }

    /// Everything up to the end of the line.
    pub(super) fn line_rest(&mut self) -> &'a [u8] {
        self.take_while(|b| b != b'\n')
    }

    /// A name: letters, digits, `_`, and `:` where `colon`; a digit is not first.
    pub(super) fn name(&mut self, colon: bool) -> Option<&'a str> {
        let is_first = |b: u8| b.is_ascii_alphabetic() || b == b'_' || colon && b == b':';
        if !self.peek().is_some_and(is_first) {
            return None;
        }
        let name = self.take_while(|b| is_first(b) || b.is_ascii_digit());
        // ASCII throughout.
        std::str::from_utf8(name).ok()
    }

    /// A string in quotes: `\\`, `\"` and `\n` are escapes, any other backslash stands for itself.
    pub(super) fn string(&mut self, what: &str, breaks: bool) -> Result<Cow<'a, str>, ParseError> {
        if !self.eat(b'"') {
            return Err(self.expected(&format!("{what} in double quotes")));
        }
        let mut escaped = false;
        let mut end = None;
        let mut at = 0;
        while let Some(byte) = self.rest.get(at) {
            match byte {
                b'"' => {
                    end = Some(at);
                    break;
                }
                b'\\' => {
                    escaped = true;
                    at += 1;
                    if self.rest.get(at) == Some(&b'\n') && !breaks {
                        break;
                    }
                }
                b'\n' if !breaks => break,
                _ => {}
            }
            at += 1;
        }
        let Some(end) = end else {
            return Err(self.error(format!("{what} has no closing quote")));
        };
        let raw = std::str::from_utf8(&self.rest[..end])
            .map_err(|_| self.error(format!("{what} is not UTF-8")))?;
        self.line += raw.bytes().filter(|b| *b == b'\n').count() as u64;
        self.rest = &self.rest[end + 1..];
        Ok(if escaped { Cow::Owned(unescape(raw)) } else { Cow::Borrowed(raw) })
    }

    pub(super) fn error(&self, message: impl Into<String>) -> ParseError {
        ParseError { line: self.line, message: message.into() }
    }

    /// The error that `what` is not what stands here.
    pub(super) fn expected(&self, what: &str) -> ParseError {
        let line = self.rest.split(|b| *b == b'\n').next().unwrap_or_default();
        let found = match (line.is_empty(), self.rest.is_empty()) {
            (true, true) => "the page ends".to_owned(),
            (true, false) => "the line ends".to_owned(),
            _ => {
                let text = String::from_utf8_lossy(&line[..line.len().min(SHOWN_MAX)]);
                format!("found {text:?}")
            }
        };
        self.error(format!("expected {what}, {found}"))
    }
}

fn unescape(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n') => text.push('\n'),
                Some(c @ ('\\' | '"')) => text.push(c),
                Some(other) => text.extend(['\\', other]),
                None => text.push('\\'),
            },
            _ => text.push(c),
        }
    }
    text
}
