//! What may be written in a rule: the fields that an action needs, and those that would mean nothing to it.

use regex::{Regex, RegexBuilder};

use super::{Action, RelabelConfig};

/// Largest compiled expression in bytes.
const REGEX_BYTES_MAX: usize = 1 << 20;

impl RelabelConfig {
    /// Checks the rule; its expression, compiled, matches whole values only.
    ///
    /// # Errors
    /// The field that is wrong and the message.
    pub(super) fn validate(&self) -> Result<Regex, (&'static str, String)> {
        use Action::{
            DropEqual, HashMod, KeepEqual, LabelDrop, LabelKeep, LabelMap, Lowercase, Replace,
            Uppercase,
        };
        let regex = RegexBuilder::new(&format!("^(?s:{})$", self.regex))
            .size_limit(REGEX_BYTES_MAX)
            .build()
            .map_err(|e| ("regex", last_line(&e.to_string())))?;
        let (action, name) = (self.action, self.action.name());
        if let Some(bad) = self.source_labels.iter().find(|label| !is_label_name(label)) {
            return Err(("source_labels", format!("{bad:?} is not a label's name")));
        }
        if action == HashMod && self.modulus == 0 {
            return Err(("modulus", "action hashmod needs one: give 1 or more".to_owned()));
        }
        let sets =
            matches!(action, Replace | HashMod | Lowercase | Uppercase | KeepEqual | DropEqual);
        if sets && self.target_label.is_empty() {
            return Err(("target_label", format!("action {name} needs one")));
        }
        let fits = if action == Replace { is_template } else { is_label_name };
        if sets && !fits(&self.target_label) {
            return Err(("target_label", format!("{:?} is not a label's name", self.target_label)));
        }
        if action == LabelMap && !is_template(&self.replacement) {
            return Err(("replacement", format!("{:?} is not a label's name", self.replacement)));
        }
        let usual = Self::default();
        let given = [
            ("source_labels", self.source_labels != usual.source_labels),
            ("target_label", self.target_label != usual.target_label),
            ("modulus", self.modulus != usual.modulus),
            ("separator", self.separator != usual.separator),
            ("replacement", self.replacement != usual.replacement),
            ("regex", self.regex != usual.regex),
        ];
        let senseless: &[&str] = match action {
            LabelDrop | LabelKeep => {
                &["source_labels", "target_label", "modulus", "separator", "replacement"]
            }
            KeepEqual | DropEqual => &["modulus", "separator", "replacement", "regex"],
            Lowercase | Uppercase => &["replacement"],
            _ => &[],
        };
        match given.into_iter().find(|(field, given)| *given && senseless.contains(field)) {
            Some((field, _)) => Err((field, format!("means nothing to action {name}: remove it"))),
            None => Ok(regex),
        }
    }
}

/// The parser of expressions draws a picture; its last line is the message.
fn last_line(text: &str) -> String {
    let last = text.lines().last().unwrap_or(text);
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`
pub(super) fn is_label_name(name: &str) -> bool {
    let is_letter = |b: u8| b.is_ascii_alphabetic() || b == b'_';
    let bytes = name.as_bytes();
    bytes.first().is_some_and(|b| is_letter(*b))
        && bytes.iter().all(|b| is_letter(*b) || b.is_ascii_digit())
}

/// A label's name with groups in it: parts that are a name or `$group` or `${group}`, not begun by a digit.
fn is_template(text: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let mut rest = text.as_bytes();
    if rest.first().is_none_or(u8::is_ascii_digit) {
        return false;
    }
    while let Some((first, after)) = rest.split_first() {
        if is_word(*first) {
            rest = after;
            continue;
        }
        if *first != b'$' {
            return false;
        }
        let braced = after.first() == Some(&b'{');
        let name = if braced { &after[1..] } else { after };
        let end = name.iter().position(|b| !is_word(*b)).unwrap_or(name.len());
        if end == 0 || braced && name.get(end) != Some(&b'}') {
            return false;
        }
        rest = &name[end + usize::from(braced)..];
    }
    true
}
