//! What the parser does not know, written as something of equal length that it knows, so that positions stay. The
//! converter sees the original tokens beside the parsed tree and takes their meaning from them.
//!
//! ```text
//! h </ 2                          →  h <= 2                 a comparison has the precedence of a trim
//! increase(x[5m] anchored)        →  increase(x[5m]         )
//! info(x, {data=~".*"})           →  info(x, {…} with one matcher more)    matchers that may all be empty
//! ```

use super::token::{Token, TokenKind};

/// A matcher that is never empty; the converter drops it.
pub(super) const ANY: &str = "__watchkeep_any__";

/// The text for the parser, if it is another.
pub(super) fn rewrite(text: &str, tokens: &[Token<'_>]) -> Option<String> {
    let mut rewritten = text.to_owned();
    // From the end, so that what gets longer does not move what is before it.
    for (at, token) in tokens.iter().enumerate().rev() {
        let range = token.start..token.start + token.text.len();
        match (token.kind, token.text) {
            (TokenKind::Sign, "</") => rewritten.replace_range(range, "<="),
            (TokenKind::Sign, ">/") => rewritten.replace_range(range, ">="),
            (TokenKind::Braces, braces) if is_data_selector(tokens, at) => {
                let inner = braces.trim_end_matches('}').trim_end();
                let comma = if inner.ends_with(['{', ',']) { "" } else { "," };
                rewritten.replace_range(range, &format!("{inner}{comma}{ANY}=\"1\"}}"));
            }
            (TokenKind::Word, word) if is_extension(tokens, at) => {
                rewritten.replace_range(range, &" ".repeat(word.len()));
            }
            _ => {}
        }
    }
    (rewritten != text).then_some(rewritten)
}

/// Whether a token is `anchored` or `smoothed` after what may be a selector.
pub(super) fn is_extension(tokens: &[Token<'_>], at: usize) -> bool {
    let named = |word: &str| tokens[at].text.eq_ignore_ascii_case(word);
    let Some(before) = at.checked_sub(1).map(|before| &tokens[before]) else { return false };
    let selector = match before.kind {
        TokenKind::Brackets | TokenKind::Braces | TokenKind::Number => true,
        TokenKind::Word => !["by", "on", "and", "or", "unless", "bool"].contains(&before.text),
        TokenKind::Sign => before.text == ")",
        TokenKind::Text => false,
    };
    selector && (named("anchored") || named("smoothed"))
}

/// Whether braces are the second argument of `info`.
fn is_data_selector(tokens: &[Token<'_>], at: usize) -> bool {
    let last = tokens.get(at + 1).is_some_and(|t| t.text == ")");
    let mut depth = 0_usize;
    if !last || at == 0 || tokens[at - 1].text != "," {
        return false;
    }
    for open in (0..at).rev() {
        match tokens[open].text {
            ")" => depth += 1,
            "(" if depth > 0 => depth -= 1,
            "(" => return open > 0 && tokens[open - 1].text == "info",
            _ => {}
        }
    }
    false
}
