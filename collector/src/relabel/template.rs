//! `$1` and `${name}` in a replacement, by the rules of Go's `Regexp.Expand`: an unbraced name is as long as letters,
//! digits and underscores go, so `$1x` is `${1x}`; what names no group is empty; `$$` is a dollar, and so is one
//! that no name follows.

use regex::Captures;

pub(super) fn expand(template: &str, groups: &Captures<'_>) -> String {
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('$') {
        text.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            text.push('$');
            rest = after;
        } else if let Some((name, after)) = name(after) {
            text.push_str(group(name, groups));
            rest = after;
        } else {
            text.push('$');
            rest = after;
        }
    }
    text.push_str(rest);
    text
}

/// The name that a dollar is followed by, and what is behind it.
fn name(after: &str) -> Option<(&str, &str)> {
    let is_word = |c: char| c == '_' || c.is_alphanumeric();
    if let Some(braced) = after.strip_prefix('{') {
        let (name, rest) = braced.split_once('}')?;
        return (!name.is_empty() && name.chars().all(is_word)).then_some((name, rest));
    }
    let end = after.find(|c| !is_word(c)).unwrap_or(after.len());
    (end > 0).then(|| after.split_at(end))
}

fn group<'a>(name: &str, groups: &'a Captures<'_>) -> &'a str {
    // A number with a zero before it is a name.
    let is_number =
        name.bytes().all(|b| b.is_ascii_digit()) && (name == "0" || !name.starts_with('0'));
    let found = match name.parse::<usize>() {
        Ok(number) if is_number => groups.get(number),
        _ if is_number => None,
        _ => groups.name(name),
    };
    found.map_or("", |found| found.as_str())
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;

    #[test]
    fn table() {
        let regex = Regex::new("^(?s:(a+)-(?P<word>b+)(c)?)$").expect("compiles");
        let groups = regex.captures("aa-bbb").expect("matches");
        for (template, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("$1", "aa"),
            ("${1}x", "aax"),
            ("$1x", ""),
            ("$1-x", "aa-x"),
            ("$0", "aa-bbb"),
            ("$word/${word}", "bbb/bbb"),
            ("$3", ""),
            ("$9", ""),
            ("$01", ""),
            ("$$1", "$1"),
            ("$", "$"),
            ("a$ b", "a$ b"),
            ("${1", "${1"),
            ("${}", "${}"),
            ("${1-x}", "${1-x}"),
            ("$1$2", "aabbb"),
            ("$99999999999999999999999", ""),
        ] {
            assert_eq!(expand(template, &groups), expected, "{template}");
        }
    }
}
