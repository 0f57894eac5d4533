//! Where a text stops being an expression. The parser says no more than that it is none, so it is asked of beginnings: the
//! longest one that something could stand behind ends where the mistake is.

use super::token::{self, TokenKind};

/// All that the parser says of a mistake of grammar.
const NO_EXPRESSION: &str = "invalid promql query";
/// What may follow the beginning of an expression and make it one: before and behind the parentheses that close it.
const RESTS: [(&str, &str); 11] = [
    ("", ""),
    (" x", ""),
    (" (x)", ""),
    ("", " (x)"),
    ("", " x"),
    (" x", " (x)"),
    (" x", " x"),
    (" (x)", " (x)"),
    (" (x)", " x"),
    (" 5m", ""),
    (" 1", ""),
];
/// Tokens of a text in which the mistake is looked for.
const TOKENS_MAX: usize = 2_000;

/// The parser's words, or better ones.
pub(super) fn explain(text: &str, said: String) -> String {
    if said != NO_EXPRESSION {
        return said;
    }
    let tokens = token::tokens(text);
    if tokens.is_empty() {
        return "no expression found in input".to_owned();
    }
    if tokens.len() > TOKENS_MAX {
        return "this is not an expression".to_owned();
    }
    let begins = |count: usize| {
        let end = tokens.get(count).map_or(text.len(), |next| next.start);
        may_go_on(text.get(..end).unwrap_or_default(), &tokens[..count])
    };
    let (mut good, mut bad) = (0, tokens.len() + 1);
    while good + 1 < bad {
        let middle = good.midpoint(bad);
        if begins(middle) {
            good = middle;
        } else {
            bad = middle;
        }
    }
    match tokens.get(good) {
        Some(token) => {
            let before = text.get(..token.start).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            let column = before.len() - before.rfind('\n').map_or(0, |at| at + 1) + 1;
            format!("{line}:{column}: unexpected {:?}", token.text)
        }
        None => "unexpected end of input".to_owned(),
    }
}

/// Whether something can stand behind `begin` so that the whole is an expression, be it of a wrong type.
fn may_go_on(begin: &str, tokens: &[token::Token<'_>]) -> bool {
    let signs = |sign: &str| {
        tokens.iter().filter(|token| token.kind == TokenKind::Sign && token.text == sign).count()
    };
    let closing = ")".repeat(signs("(").saturating_sub(signs(")")));
    RESTS.iter().any(|(before, behind)| {
        let text = format!("{begin}\n{before}{closing}{behind}");
        promql_parser::parser::parse(&text).err().is_none_or(|said| said != NO_EXPRESSION)
    })
}

#[cfg(test)]
mod tests {
    use super::super::Expr;

    #[test]
    fn the_place_of_a_mistake_is_told() {
        for (text, words) in [
            ("up ==", "unexpected end of input"),
            ("up == # why", "unexpected end of input"),
            ("up up", "1:4: unexpected \"up\""),
            ("sum by (job) up", "1:14: unexpected \"up\""),
            ("sum(up) +\n* 2", "2:1: unexpected \"*\""),
            ("sum by (job", "unclosed left parenthesis"),
            ("rate(up[5m]) by (job)", "1:14: unexpected \"by\""),
            ("(1 + ) * 2", "1:6: unexpected \")\""),
            ("up{a=\"b\"} {", "unexpected"),
        ] {
            let said = Expr::parse(text).expect_err(text).to_string();
            assert!(said.contains(words), "{text}: {said}");
            assert!(!said.contains("invalid promql query"), "{text}: {said}");
        }
    }
}
