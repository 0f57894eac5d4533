//! Documents as they stand in files: read by their kind, each once. What they say is [`super::judge`]'s. Pure: text in.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_saphyr::{Error, Location, Spanned, UserMessageFormatter};

use super::shape::{self, Document, Head};
use crate::rule::Problem;

const VERSION: &str = "openslo/v1";
/// Kinds of documents.
const KINDS: &str =
    "Service, SLI, SLO, AlertPolicy, AlertCondition, AlertNotificationTarget, DataSource";
/// Documents of one kind by name, each with its file and the line before it.
pub(super) type Named<T> = BTreeMap<String, (String, u64, T)>;

/// All documents of all files.
#[derive(Default)]
pub(super) struct Documents {
    pub(super) services: Named<shape::ServiceSpec>,
    pub(super) sources: Named<shape::DataSourceSpec>,
    pub(super) slis: Named<shape::SliSpec>,
    pub(super) policies: Named<shape::PolicySpec>,
    pub(super) conditions: Named<shape::ConditionSpec>,
    pub(super) targets: Named<shape::TargetSpec>,
    pub(super) slos: Named<(Option<String>, shape::SloSpec)>,
    pub(super) problems: Vec<Problem>,
}

/// The documents of a file, each with the number of lines before it.
pub(super) fn split(text: &str) -> Vec<(u64, String)> {
    let text = text.trim_start_matches('\u{feff}');
    let mut documents = vec![(0, String::new())];
    for (number, line) in (1..).zip(text.lines()) {
        // What stands behind the mark belongs to the document that it begins; most often it is a comment.
        let behind = |mark: &str| {
            let rest = line.strip_prefix(mark)?;
            (rest.is_empty() || rest.starts_with([' ', '\t'])).then(|| rest.trim())
        };
        if let Some(rest) = behind("---") {
            documents.push(match rest.is_empty() || rest.starts_with('#') {
                true => (number, String::new()),
                false => (number - 1, format!("{rest}\n")),
            });
        } else if behind("...").is_some() {
            documents.push((number, String::new()));
        } else if let Some((_, document)) = documents.last_mut() {
            document.push_str(line);
            document.push('\n');
        }
    }
    let says = |text: &str| {
        text.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
    };
    documents.retain(|(_, text)| says(text));
    documents
}

impl Documents {
    fn refuse(&mut self, file: &str, line: Option<u64>, message: String) {
        self.problems.push(Problem { file: file.to_owned(), line, message });
    }

    pub(super) fn take(&mut self, file: &str, before: u64, text: &str) {
        let Some(head) = self.parse::<Head>(file, before, text) else { return };
        let line = |at: &Location| Some(before + at.line());
        let version = &head.api_version;
        if version.value != VERSION {
            let message = format!(
                "apiVersion {:?} is not read: write the document as {VERSION}",
                version.value
            );
            return self.refuse(file, line(&version.referenced), message);
        }
        let kind = head.kind.value.as_str();
        match kind {
            "Service" => self.put(file, before, text, kind, |all| &mut all.services),
            "DataSource" => self.put(file, before, text, kind, |all| &mut all.sources),
            "SLI" => self.put(file, before, text, kind, |all| &mut all.slis),
            "AlertPolicy" => self.put(file, before, text, kind, |all| &mut all.policies),
            "AlertCondition" => self.put(file, before, text, kind, |all| &mut all.conditions),
            "AlertNotificationTarget" => self.put(file, before, text, kind, |all| &mut all.targets),
            "SLO" => {
                let Some(found) = self.parse::<Document<shape::SloSpec>>(file, before, text) else {
                    return;
                };
                let display = found.metadata.display_name.clone();
                self.name(file, before, kind, &found.metadata.name);
                let name = found.metadata.name.value;
                let entry = (file.to_owned(), before, (display, found.spec));
                if self.slos.insert(name.clone(), entry).is_some() {
                    self.twice(file, before, kind, &name);
                }
            }
            other => {
                let message = format!("kind {other:?} is not known; known: {KINDS}");
                self.refuse(file, line(&head.kind.referenced), message);
            }
        }
    }

    fn put<T: DeserializeOwned>(
        &mut self,
        file: &str,
        before: u64,
        text: &str,
        kind: &str,
        place: fn(&mut Self) -> &mut Named<T>,
    ) {
        let Some(found) = self.parse::<Document<T>>(file, before, text) else { return };
        self.name(file, before, kind, &found.metadata.name);
        let name = found.metadata.name.value;
        let entry = (file.to_owned(), before, found.spec);
        if place(self).insert(name.clone(), entry).is_some() {
            self.twice(file, before, kind, &name);
        }
    }

    fn twice(&mut self, file: &str, before: u64, kind: &str, name: &str) {
        let message = format!("{kind} {name:?} is there twice; rename one");
        self.refuse(file, Some(before + 1), message);
    }

    /// RFC 1123, as every implementation has to take names. Names of alert policies, conditions and targets are freer: the
    /// format's own examples have capitals.
    fn name(&mut self, file: &str, before: u64, kind: &str, name: &Spanned<String>) {
        let strict = matches!(kind, "SLO" | "Service" | "SLI");
        let good = |c: char| {
            c.is_ascii_digit()
                || c == '-'
                || c.is_ascii_lowercase()
                || (!strict && (c.is_ascii_uppercase() || "._".contains(c)))
        };
        let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        let text = &name.value;
        let (first, last) = (text.chars().next(), text.chars().last());
        if text.len() > 63 || !text.chars().all(good) || !edge(first) || !edge(last) {
            let message = format!(
                "metadata.name {text:?} is not a name: use at most 63 of a-z 0-9 -, with a letter or a digit at both ends"
            );
            self.refuse(file, Some(before + name.referenced.line()), message);
        }
    }

    fn parse<T: DeserializeOwned>(&mut self, file: &str, before: u64, text: &str) -> Option<T> {
        serde_saphyr::from_str(text)
            .map_err(|error: Error| {
                let line = error.location().map(|at| before + at.line());
                let full = error.without_snippet().render_with_formatter(&UserMessageFormatter);
                let message = full.rsplit_once(" at line ").map_or(full.as_str(), |(text, _)| text);
                let message = match message.split_once("`, expected one of ") {
                    Some((what, known)) => format!("{what}` is not supported; known: {known}"),
                    None => message.to_owned(),
                };
                self.refuse(file, line.or(Some(before + 1)), message);
            })
            .ok()
    }
}
