//! Where the parts of an expression stand in its text: the parser does not say, and annotations must.
//!
//! The tokens are consumed in the order in which the parsed expression says they come. When text and expression
//! disagree, positions are off, and nothing else.

use promql_parser::parser::Expr as Ast;

use super::{
    rewrite::is_extension,
    token::{self, Token, TokenKind},
};
use crate::promql::{
    ParseError,
    plan::{Ends, Position},
};

/// Walks the tokens along with the expression.
pub(super) struct Locator<'a> {
    text: &'a str,
    tokens: &'a [Token<'a>],
    next: usize,
    extensions: usize,
}

impl<'a> Locator<'a> {
    pub(super) fn new(text: &'a str, tokens: &'a [Token<'a>]) -> Self {
        Self { text, tokens, next: 0, extensions: 0 }
    }

    fn peek(&self) -> Option<&'a Token<'a>> {
        self.tokens.get(self.next)
    }

    fn is(&self, text: &str) -> bool {
        self.peek().is_some_and(|t| {
            matches!(t.kind, TokenKind::Word | TokenKind::Sign) && t.text.eq_ignore_ascii_case(text)
        })
    }

    pub(super) fn skip(&mut self, text: &str) -> bool {
        let found = self.is(text);
        self.next += usize::from(found);
        found
    }

    fn skip_kind(&mut self, kind: TokenKind) -> bool {
        let found = self.peek().is_some_and(|t| t.kind == kind);
        self.next += usize::from(found);
        found
    }

    /// Where the next token stands.
    pub(super) fn here(&self) -> Position {
        let offset = self.peek().map_or(0, |t| t.start);
        let before = &self.text[..offset.min(self.text.len())];
        let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
        let column = before.rfind('\n').map_or(offset, |at| offset - at - 1) + 1;
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Position { line: number(line), column: number(column) }
    }

    /// Unary pluses leave no trace in the expression.
    pub(super) fn pluses(&mut self) {
        while self.skip("+") {}
    }

    pub(super) fn literal(&mut self) {
        while self.skip("+") || self.skip("-") {}
        self.next += 1;
    }

    /// A parenthesised list of labels or a fill value, without nesting.
    fn list(&mut self) {
        if self.skip("(") {
            while self.peek().is_some() && !self.skip(")") {
                self.next += 1;
            }
        }
    }

    pub(super) fn grouping(&mut self) -> bool {
        let found = self.skip("by") || self.skip("without");
        if found {
            self.list();
        }
        found
    }

    pub(super) fn matching(&mut self) {
        loop {
            if self.skip("bool") {
                continue;
            }
            let words =
                ["on", "ignoring", "group_left", "group_right", "fill", "fill_left", "fill_right"];
            if !words.iter().any(|word| self.skip(word)) {
                return;
            }
            self.list();
        }
    }

    /// A string; one whose escapes are no text is refused (the parser takes each for a character).
    pub(super) fn text(&mut self) -> Result<(), ParseError> {
        if let Some(token) = self.peek()
            && token.kind == TokenKind::Text
            && !token::is_text(token.text)
        {
            return Err(ParseError {
                message: format!("invalid label name {}", token.text),
                position: Some(token.start),
            });
        }
        self.next += 1;
        Ok(())
    }

    /// An operator or a name; answers with its text.
    pub(super) fn operator(&mut self) -> &'a str {
        let text = self.peek().map_or("", |t| t.text);
        self.next += 1;
        text
    }

    pub(super) fn selector(&mut self, ast: &Ast) -> Ends {
        let named = match ast {
            Ast::VectorSelector(s) => s.name.is_some(),
            Ast::MatrixSelector(s) => s.vs.name.is_some(),
            _ => false,
        };
        if named {
            self.next += 1;
        }
        self.skip_kind(TokenKind::Braces);
        self.suffix()
    }

    /// How many words `anchored` and `smoothed` were passed.
    pub(super) fn extensions(&self) -> usize {
        self.extensions
    }

    /// Range, `offset`, `@`, `anchored`, `smoothed`, in any order; answers with the last of these.
    pub(super) fn suffix(&mut self) -> Ends {
        let mut ends = Ends::Plain;
        loop {
            if self.next < self.tokens.len() && is_extension(self.tokens, self.next) {
                ends = if self.is("anchored") { Ends::Anchored } else { Ends::Smoothed };
                self.extensions += 1;
                self.next += 1;
                continue;
            }
            if self.skip_kind(TokenKind::Brackets) {
                continue;
            }
            if self.skip("offset") {
                self.literal();
            } else if self.skip("@") {
                if self.skip("start") || self.skip("end") {
                    self.list();
                } else {
                    self.literal();
                }
            } else {
                return ends;
            }
        }
    }
}
