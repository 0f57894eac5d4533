//! Arithmetic in durations, `x[5m + step()]` and `x offset (range() / 2)`: computed when a query runs, and put into the
//! text as plain numbers before it is parsed.
//!
//! In brackets any expression may stand; behind `offset` one in parentheses or a call.

use super::token::{self, Token, TokenKind};
use crate::promql::ParseError;

/// What durations may depend on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Query {
    /// Milliseconds between steps; 0 for an instant query.
    pub(super) step_ms: i64,
    /// Milliseconds from the first step to the last.
    pub(super) range_ms: i64,
}

/// Most levels of parentheses.
const DEPTH_MAX: usize = 50;

/// The text with its durations computed; nothing if there are none to compute.
pub(super) fn expand(
    text: &str,
    tokens: &[Token<'_>],
    query: Query,
) -> Result<Option<String>, ParseError> {
    let mut changes: Vec<(std::ops::Range<usize>, String)> = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let plain =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | ':') || c.is_whitespace();
        if token.kind == TokenKind::Brackets {
            let Some(inner) = token.text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) else {
                continue;
            };
            if inner.chars().all(plain) {
                continue;
            }
            let parts: Result<Vec<String>, ParseError> =
                inner.split(':').map(|part| seconds(part, query)).collect();
            let whole = token.start..token.start + token.text.len();
            changes.push((whole, format!("[{}]", parts?.join(":"))));
        } else if token.text.eq_ignore_ascii_case("offset")
            && let Some(end) = end_of_operand(tokens, at + 1)
        {
            let (first, last) = (&tokens[at + 1], &tokens[end]);
            let range = first.start..last.start + last.text.len();
            let value = seconds(&text[range.clone()], query)?;
            changes.push((range, value));
        }
    }
    if changes.is_empty() {
        return Ok(None);
    }
    let mut expanded = text.to_owned();
    for (range, value) in changes.into_iter().rev() {
        expanded.replace_range(range, &value);
    }
    Ok(Some(expanded))
}

/// The last token of a signed parenthesis or call; nothing for a plain duration.
fn end_of_operand(tokens: &[Token<'_>], from: usize) -> Option<usize> {
    let mut at = from;
    while tokens.get(at).is_some_and(|t| matches!(t.text, "+" | "-")) {
        at += 1;
    }
    if tokens.get(at)?.kind == TokenKind::Word {
        at += 1;
    }
    let mut depth = 0_usize;
    for (end, token) in tokens.iter().enumerate().skip(at) {
        match token.text {
            "(" => depth += 1,
            ")" if depth == 1 => return Some(end),
            ")" => depth = depth.checked_sub(1)?,
            _ if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// An expression's value, as a number of seconds.
fn seconds(text: &str, query: Query) -> Result<String, ParseError> {
    if text.trim().is_empty() {
        return Ok(String::new());
    }
    let tokens = token::tokens(text);
    let mut parser = Parser { tokens: &tokens, next: 0, query, depth: 0 };
    let value = parser.sum()?;
    if parser.next < tokens.len() || !value.is_finite() {
        return Err(ParseError::new(format!("{:?} is not a duration", text.trim())));
    }
    // In milliseconds, as everything.
    Ok(((value * 1000.0).round() / 1000.0).to_string())
}

struct Parser<'a> {
    tokens: &'a [Token<'a>],
    next: usize,
    query: Query,
    depth: usize,
}

impl Parser<'_> {
    fn skip(&mut self, sign: &str) -> bool {
        let found = self.tokens.get(self.next).is_some_and(|t| t.text == sign);
        self.next += usize::from(found);
        found
    }

    fn sum(&mut self) -> Result<f64, ParseError> {
        let mut value = self.product()?;
        loop {
            if self.skip("+") {
                value += self.product()?;
            } else if self.skip("-") {
                value -= self.product()?;
            } else {
                return Ok(value);
            }
        }
    }

    fn product(&mut self) -> Result<f64, ParseError> {
        let mut value = self.signed()?;
        loop {
            let zero = || ParseError::new("division by zero in a duration");
            if self.skip("*") {
                value *= self.signed()?;
            } else if self.skip("/") {
                let by = self.signed()?;
                value = if by == 0.0 { Err(zero())? } else { value / by };
            } else if self.skip("%") {
                let by = self.signed()?;
                value = if by == 0.0 { Err(zero())? } else { value % by };
            } else {
                return Ok(value);
            }
        }
    }

    fn signed(&mut self) -> Result<f64, ParseError> {
        let mut sign = 1.0;
        loop {
            if self.skip("-") {
                sign = -sign;
            } else if !self.skip("+") {
                break;
            }
        }
        Ok(sign * self.power()?)
    }

    fn power(&mut self) -> Result<f64, ParseError> {
        let base = self.operand()?;
        if !self.skip("^") {
            return Ok(base);
        }
        self.deeper()?;
        let exponent = self.signed()?;
        self.depth -= 1;
        Ok(base.powf(exponent))
    }

    fn deeper(&mut self) -> Result<(), ParseError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(ParseError::new("a duration is nested too deep"));
        }
        Ok(())
    }

    fn operand(&mut self) -> Result<f64, ParseError> {
        if self.skip("(") {
            self.deeper()?;
            let value = self.sum()?;
            self.depth -= 1;
            return self.closed(value);
        }
        let token = self.tokens.get(self.next).copied();
        let token = token.ok_or_else(|| ParseError::new("a duration ends too early"))?;
        self.next += 1;
        let wrong = || ParseError::new(format!("{:?} is no part of a duration", token.text));
        match token.kind {
            TokenKind::Number => {
                let seconds = token.text.parse::<f64>().ok();
                seconds.or_else(|| with_units(token.text)).ok_or_else(wrong)
            }
            TokenKind::Word => {
                self.call(&token.text.to_ascii_lowercase()).and_then(|v| self.closed(v))
            }
            _ => Err(wrong()),
        }
    }

    fn call(&mut self, name: &str) -> Result<f64, ParseError> {
        let unknown = || ParseError::new(format!("{name:?} is no function of durations"));
        if !self.skip("(") {
            return Err(unknown());
        }
        match name {
            "step" => Ok(self.query.step_ms as f64 / 1000.0),
            "range" => Ok(self.query.range_ms as f64 / 1000.0),
            "min_of" | "max_of" => {
                self.deeper()?;
                let a = self.sum()?;
                if !self.skip(",") {
                    return Err(ParseError::new(format!("{name} needs two durations")));
                }
                let b = self.sum()?;
                self.depth -= 1;
                Ok(if name == "min_of" { a.min(b) } else { a.max(b) })
            }
            _ => Err(unknown()),
        }
    }

    fn closed(&mut self, value: f64) -> Result<f64, ParseError> {
        if self.skip(")") { Ok(value) } else { Err(ParseError::new("a duration lacks a \")\"")) }
    }
}

/// `1h30m` in seconds; zero, too, unlike where the parser reads a duration.
fn with_units(text: &str) -> Option<f64> {
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|digits| *digits > 0)?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        seconds += number
            * match &rest[..letters] {
                "ms" => 0.001,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3_600.0,
                "d" => 86_400.0,
                "w" => 604_800.0,
                "y" => 31_536_000.0,
                _ => return None,
            };
        rest = &rest[letters..];
    }
    Some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() -> Result<(), ParseError> {
        let query = Query { step_ms: 10_000, range_ms: 60_000 };
        for (text, expected) in [
            ("x[5m]", None),
            ("x[1h:]", None),
            ("x offset -5m", None),
            ("x[26m+4m]", Some("x[1800]")),
            ("x[30m+0s]", Some("x[1800]")),
            ("x[1d2h3m4s5ms+0]", Some("x[93784.005]")),
            ("x[-5m+35m : 2*step()]", Some("x[1800:20]")),
            ("x[1h30m % 1h]", Some("x[1800]")),
            ("x[2^3]", Some("x[8]")),
            ("x offset step()*0", Some("x offset 10*0")),
            ("x offset -(min_of(RANGE(), 1s) / 2) + 1", Some("x offset -0.5 + 1")),
            ("x offset (-step()*2)", Some("x offset -20")),
            ("x offset 5m + (1)", None),
        ] {
            let found = expand(text, &token::tokens(text), query)?;
            assert_eq!(found.as_deref(), expected, "{text}");
        }
        let deep = format!("x[{}1{}]", "(".repeat(99), ")".repeat(99));
        for wrong in
            ["x[5m+]", "x[1/0]", "x[foo()]", "x[(5m]", "x[1 2+3]", "x[inf()+1]", "x[1q+1]", &deep]
        {
            assert!(expand(wrong, &token::tokens(wrong), query).is_err(), "{wrong}");
        }
        Ok(())
    }
}
