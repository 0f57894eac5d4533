//! From text to plan: the parser's tree is checked where the parser is lax, and left behind.
//!
//! promql-parser 0.11.1 panics on a duration beyond what `std::time::Duration` holds, accepts scalars where
//! `ln(0)` wants a vector, `or` between matchers, and knows no positions; all of that is dealt with here.

mod convert;
mod durations;
mod locate;
mod rewrite;
mod token;
mod unexpected;

use std::fmt;

use promql_parser::parser::Expr as Ast;

use self::token::{Token, TokenKind};
use crate::{
    METRIC_NAME, Matcher,
    promql::{
        ParseError,
        plan::{At, Kind, Node, What, When},
    },
};

/// Longest expression in bytes.
const TEXT_BYTES_MAX: usize = 256 * 1024;
/// Most operators and parentheses: what bounds the parser's recursion.
const OPERATORS_MAX: usize = 4_000;
/// Deepest nesting: what bounds ours.
const DEPTH_MAX: usize = 200;
/// Largest number of seconds in a duration.
const SECONDS_MAX: f64 = 1e10;

/// The type of an expression's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExprKind {
    /// A number per step.
    Scalar,
    /// A string.
    String,
    /// An instant vector.
    Vector,
    /// A range vector.
    Matrix,
}

/// A parsed and checked expression. `Display` writes it in one line.
#[derive(Debug)]
pub struct Expr {
    pub(crate) plan: Node,
    /// Experimental functions and operators in it.
    pub(crate) experimental: Vec<String>,
    ast: Ast,
    /// The text, where the parser was given another.
    text: Option<String>,
    /// Durations in it are computed when it runs.
    computed: bool,
}

impl Expr {
    /// Parses an expression.
    ///
    /// # Errors
    /// When it is not PromQL, too long or too deep.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(ParseError::new(format!(
                "expression is longer than {TEXT_BYTES_MAX} bytes"
            )));
        }
        // Whether it is one can be told of any step; what its durations are, only when it runs.
        let likely = durations::Query { step_ms: 60_000, range_ms: 3_600_000 };
        match durations::expand(text, &token::tokens(text), likely)? {
            None => Self::parse_plain(text),
            Some(expanded) => {
                let mut expr = Self::parse_plain(&expanded)?;
                expr.experimental.push("arithmetic in durations".to_owned());
                Ok(Self { text: Some(text.trim().to_owned()), computed: true, ..expr })
            }
        }
    }

    /// The expression with its durations computed for a query; nothing if there are none to compute.
    pub(crate) fn computed(&self, step_ms: i64, range_ms: i64) -> Result<Option<Self>, ParseError> {
        let Some(text) = self.text.as_ref().filter(|_| self.computed) else { return Ok(None) };
        let query = durations::Query { step_ms, range_ms };
        let expanded = durations::expand(text, &token::tokens(text), query)?;
        expanded.map(|expanded| Self::parse_plain(&expanded)).transpose()
    }

    fn parse_plain(text: &str) -> Result<Self, ParseError> {
        let tokens = token::tokens(text);
        check_tokens(&tokens)?;
        let rewritten = rewrite::rewrite(text, &tokens);
        let plain = rewritten.as_deref().unwrap_or(text);
        let ast = promql_parser::parser::parse(plain)
            .map_err(|said| ParseError::new(unexpected::explain(plain, said)))?;
        check_depth(&ast)?;
        let mut experimental = Vec::new();
        let mut converter = convert::Converter::new(text, &tokens, &mut experimental);
        let plan = converter.node(&ast)?;
        let written = (0..tokens.len()).filter(|at| rewrite::is_extension(&tokens, *at)).count();
        if converter.extensions() != written {
            return Err(ParseError::new("anchored and smoothed modifiers must follow a selector"));
        }
        let text = rewritten.is_some().then(|| text.trim().to_owned());
        Ok(Self { plan, experimental, ast, text, computed: false })
    }

    /// An experimental function or operator in it, if there is one.
    #[must_use]
    pub fn experimental(&self) -> Option<&str> {
        self.experimental.first().map(String::as_str)
    }

    /// The expression in several lines, if it is long.
    #[must_use]
    pub fn pretty(&self) -> String {
        self.text.clone().unwrap_or_else(|| self.ast.prettify())
    }

    /// The type of its value.
    #[must_use]
    pub fn kind(&self) -> ExprKind {
        match self.plan.kind() {
            Kind::Scalar => ExprKind::Scalar,
            Kind::Text => ExprKind::String,
            Kind::Vector => ExprKind::Vector,
            Kind::Matrix => ExprKind::Matrix,
        }
    }

    /// The matchers of each selector in it, the metric's name among them, in the order of the text.
    #[must_use]
    pub fn selectors(&self) -> Vec<&[Matcher]> {
        let mut found = Vec::new();
        collect(&self.plan, &mut found);
        found
    }

    /// The matchers of a text that is one instant vector selector and nothing else: `up{job=~"a|b"}`.
    ///
    /// # Errors
    /// When it is something else.
    pub fn parse_selector(text: &str) -> Result<Vec<Matcher>, ParseError> {
        match Self::parse(text)?.plan.what {
            What::Vector(selector) if selector.when == When { at: At::Step, offset_ms: 0 } => {
                Ok(selector.matchers)
            }
            _ => Err(ParseError::new("this is more than a selector like name{label=\"value\"}")),
        }
    }

    /// The metrics that its selectors name with `=`, in the order of the text, each once.
    #[must_use]
    pub fn metric_names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for matcher in self.selectors().into_iter().flatten() {
            if let Matcher::Equal(label, value) = matcher
                && label == METRIC_NAME
                && !names.contains(&value.as_str())
            {
                names.push(value.as_str());
            }
        }
        names
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.text {
            Some(text) => f.write_str(text),
            None => self.ast.fmt(f),
        }
    }
}

fn collect<'a>(node: &'a Node, found: &mut Vec<&'a [Matcher]>) {
    if let What::Vector(selector) | What::Range(selector, _) = &node.what {
        found.push(&selector.matchers);
    }
    node.children().into_iter().for_each(|child| collect(child, found));
}

fn check_tokens(tokens: &[Token<'_>]) -> Result<(), ParseError> {
    let words = ["and", "or", "unless", "atan2"];
    let nests = |t: &&Token<'_>| match t.kind {
        TokenKind::Sign => !matches!(t.text, ")" | ","),
        TokenKind::Word => words.iter().any(|w| t.text.eq_ignore_ascii_case(w)),
        TokenKind::Brackets => true,
        _ => false,
    };
    if tokens.iter().filter(nests).count() > OPERATORS_MAX {
        return Err(ParseError::new(format!(
            "expression has more than {OPERATORS_MAX} operators and parentheses"
        )));
    }
    for (at, token) in tokens.iter().enumerate() {
        let numbers: Vec<&str> = match token.kind {
            TokenKind::Number => vec![token.text],
            TokenKind::Brackets => {
                token.text.split(|c: char| !c.is_ascii_alphanumeric() && c != '.').collect()
            }
            _ => continue,
        };
        // A number in brackets or after `offset` becomes a duration, and one too large a panic.
        let duration = token.kind == TokenKind::Brackets || follows_offset(&tokens[..at]);
        let large = |n: &&str| {
            let plain = n.parse::<f64>().is_ok_and(|n| !n.is_finite() || n > SECONDS_MAX);
            plain || n.len() > 18
        };
        if duration && let Some(number) = numbers.iter().find(|n| large(n)) {
            return Err(ParseError {
                message: format!("duration out of range: {number:?}"),
                position: Some(token.start),
            });
        }
    }
    Ok(())
}

fn follows_offset(before: &[Token<'_>]) -> bool {
    let mut unsigned = before.iter().rev().skip_while(|t| matches!(t.text, "+" | "-"));
    unsigned.next().is_some_and(|t| t.text.eq_ignore_ascii_case("offset"))
}

/// Without recursion: the tree may be too deep for it.
fn check_depth(ast: &Ast) -> Result<(), ParseError> {
    let mut open = vec![(ast, 1)];
    while let Some((node, depth)) = open.pop() {
        if depth > DEPTH_MAX {
            return Err(ParseError::new(format!("expression is nested deeper than {DEPTH_MAX}")));
        }
        match node {
            Ast::Aggregate(e) => {
                open.push((&e.expr, depth + 1));
                open.extend(e.param.iter().map(|p| (&**p, depth + 1)));
            }
            Ast::Unary(e) => open.push((&e.expr, depth + 1)),
            Ast::Binary(e) => open.extend([(&*e.lhs, depth + 1), (&*e.rhs, depth + 1)]),
            Ast::Paren(e) => open.push((&e.expr, depth + 1)),
            Ast::Subquery(e) => open.push((&e.expr, depth + 1)),
            Ast::Call(e) => open.extend(e.args.args.iter().map(|a| (&**a, depth + 1))),
            Ast::NumberLiteral(_)
            | Ast::StringLiteral(_)
            | Ast::VectorSelector(_)
            | Ast::MatrixSelector(_)
            | Ast::Extension(_) => {}
        }
    }
    Ok(())
}
