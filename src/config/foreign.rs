//! Files of other programs, read unchanged and judged like ours: `blackbox.yml`, `alertmanager.yml`.

use std::path::Path;

use serde::de::DeserializeOwned;

use super::{
    parse,
    problem::{Place, Problem},
};

/// A file's name in messages, and its text; `what` says what to give.
///
/// # Errors
/// That it cannot be read.
pub(super) fn text(path: &Path, what: &str) -> Result<(String, String), Vec<Problem>> {
    let name = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => Ok((name, text)),
        Err(error) => {
            let message = format!("cannot be read: {error}; give {what}");
            Err(vec![Problem { place: Place::File(name), path: String::new(), message }])
        }
    }
}

/// Reads `text` as Go's YAML reads it (`yes` and `on` are true), and has it judged; `file` is its name in messages. What is
/// wrong is a field and a message.
///
/// # Errors
/// Everything that is wrong, by its line.
pub(super) fn judged<T: DeserializeOwned>(
    file: &str,
    text: &str,
    judge: impl FnOnce(&mut T) -> Vec<(String, String)>,
) -> Result<T, Vec<Problem>> {
    let (mut value, index) = parse::parse_as::<T>(parse::Dialect::Yaml11, file, text)?;
    let place = |path: &str| match index.line(path) {
        Some(line) => Place::Line(file.to_owned(), line),
        None => Place::File(file.to_owned()),
    };
    let wrong = judge(&mut value).into_iter();
    let wrong = wrong.map(|(path, message)| Problem { place: place(&path), path, message });
    let mut problems: Vec<_> = wrong.collect();
    problems.sort();
    if problems.is_empty() { Ok(value) } else { Err(problems) }
}
