//! What may stand in a key as one segment: service, instance, check and collector names.

use thiserror::Error;

/// Longest name in bytes.
pub(crate) const NAME_MAX: usize = 128;

/// A name that cannot be a key segment.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "{what} name {name:?} is not allowed: use 1 to {NAME_MAX} of the characters A-Z a-z 0-9 . _ -, \
     beginning with a letter or a digit"
)]
pub struct NameError {
    what: &'static str,
    name: String,
}

/// Checks that `name` can be one segment of a key; `what` says in the error what it names.
///
/// # Errors
/// When it is empty, too long, or has a character outside `A-Z a-z 0-9 . _ -`.
pub fn check_name(what: &'static str, name: &str) -> Result<(), NameError> {
    let first = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    let rest = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if first && rest && name.len() <= NAME_MAX {
        return Ok(());
    }
    Err(NameError { what, name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let long = "x".repeat(NAME_MAX + 1);
        for (name, allowed) in [
            ("web", true),
            ("web-1.eu_west", true),
            ("9", true),
            ("", false),
            ("-web", false),
            ("a/b", false),
            ("ä", false),
            (long.as_str(), false),
        ] {
            assert_eq!(check_name("service", name).is_ok(), allowed, "{name}");
        }
    }
}
