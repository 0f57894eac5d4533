//! The words of notifications: the templates of the file, our own default messages under Alertmanager's names, and the
//! data they are filled with.

use std::{collections::HashMap, sync::Arc};

use watchkeep_catalog::{LabelSet, Time};

use super::{
    config::AlertmanagerConfig,
    payload::{Payload, PayloadAlert},
};
use crate::{
    config::Invalid,
    template::{
        Functions, Library, Template, TemplateError, Value, from_unix_nanos, object, string_map,
    },
};

mod functions;
#[cfg(test)]
mod tests;
mod texts;

/// Our own messages.
const DEFAULTS: &str = include_str!("words/default.tmpl");
/// The name under which they are judged.
const DEFAULT_NAME: &str = "watchkeep-default.tmpl";
/// Files that one pattern may mean.
const FILES_MAX: usize = 1_000;

/// Why a text was not filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unfit {
    pub(crate) text: String,
    /// With fewer alerts it would do.
    pub(crate) is_too_much: bool,
}

impl From<TemplateError> for Unfit {
    fn from(error: TemplateError) -> Self {
        Self { is_too_much: error.is_too_much(), text: error.to_string() }
    }
}

/// See the module.
pub(crate) struct Words {
    functions: Functions,
    /// Every text of the configuration, judged.
    templates: HashMap<String, Template>,
}

impl Words {
    /// Reads the template files and judges every text.
    ///
    /// # Errors
    /// The path of each text or file that is wrong, and its line in a file.
    pub(crate) fn new(
        config: &AlertmanagerConfig,
        external_url: &str,
    ) -> Result<Self, Vec<Invalid>> {
        let functions = functions::functions(external_url);
        let (mut wrong, mut unreadable) = (Vec::new(), Vec::new());
        let mut library = Library::default();
        let mut take = |library: &mut Library, path: &str, name: &str, text: &str| {
            if let Err(error) = library.parse(name, text, &functions, &[]) {
                let message = format!("{}:{}: {}", error.name, error.line, error.message);
                wrong.push(Invalid { path: path.to_owned(), message });
            }
        };
        take(&mut library, "templates", DEFAULT_NAME, DEFAULTS);
        for (at, pattern) in config.templates.iter().enumerate() {
            let path = format!("templates[{at}]");
            let files = files(pattern).unwrap_or_else(|message| {
                unreadable.push(Invalid { path: path.clone(), message });
                Vec::new()
            });
            for file in files {
                match std::fs::read_to_string(&file) {
                    Ok(text) => take(&mut library, &path, &file, &text),
                    Err(error) => unreadable.push(Invalid {
                        path: path.clone(),
                        message: format!("{file} cannot be read: {error}"),
                    }),
                }
            }
        }
        wrong.extend(unreadable);
        let mut templates = HashMap::new();
        for (path, text) in texts::all(config) {
            if templates.contains_key(&text) {
                continue;
            }
            match library.clone().parse(&path, &text, &functions, &[]) {
                Ok(template) => {
                    if let Some(name) = template.missing() {
                        let message = format!(
                            "template {name:?} is defined nowhere: name its file in templates"
                        );
                        wrong.push(Invalid { path, message });
                    }
                    templates.insert(text, template);
                }
                Err(error) => wrong.push(Invalid {
                    path,
                    message: format!("it is not a template: {}", error.message),
                }),
            }
        }
        if wrong.is_empty() { Ok(Self { functions, templates }) } else { Err(wrong) }
    }

    fn template(&self, text: &str) -> Result<Option<&Template>, Unfit> {
        if !text.contains("{{") {
            return Ok(None);
        }
        let found = self.templates.get(text);
        found.map(Some).ok_or_else(|| Unfit {
            text: format!("text {text:?} was not in the configuration"),
            is_too_much: false,
        })
    }

    /// Filled in as plain text.
    ///
    /// # Errors
    /// When something in it does not fit the data.
    pub(crate) fn text(&self, text: &str, payload: &Payload) -> Result<String, Unfit> {
        match self.template(text)? {
            None => Ok(text.to_owned()),
            Some(template) => Ok(template.render(&data(payload), &[], &self.functions)?),
        }
    }

    /// Filled in as HTML: what comes from alerts is escaped.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub(crate) fn html(&self, text: &str, payload: &Payload) -> Result<String, Unfit> {
        match self.template(text)? {
            None => Ok(text.to_owned()),
            Some(template) => Ok(template.render_html(&data(payload), &[], &self.functions)?),
        }
    }

    /// The one or the other.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub(crate) fn text_for(
        &self,
        text: &str,
        payload: &Payload,
        html: bool,
    ) -> Result<String, Unfit> {
        if html { self.html(text, payload) } else { self.text(text, payload) }
    }
}

/// The files that a pattern means, in the order of their names. A pattern that means none is none, as with Alertmanager.
///
/// # Errors
/// When it is not a pattern.
fn files(pattern: &str) -> Result<Vec<String>, String> {
    if !pattern.contains(['*', '?', '[']) {
        return Ok(vec![pattern.to_owned()]);
    }
    let found = glob::glob(pattern).map_err(|error| format!("{pattern:?}: {error}"))?;
    let names = found.filter_map(|path| path.ok()?.into_os_string().into_string().ok());
    Ok(names.take(FILES_MAX).collect())
}

fn string(text: &str) -> Value {
    Value::String(text.into())
}

fn labels(set: &LabelSet) -> Value {
    string_map(set.iter())
}

fn time(at: Option<Time>) -> Value {
    from_unix_nanos(at.and_then(|at| at.timestamp_nanos_opt()).unwrap_or(0))
}

fn alert(alert: &PayloadAlert) -> Value {
    object(
        "alert",
        [
            ("Status", string(alert.status)),
            ("Labels", labels(&alert.labels)),
            ("Annotations", labels(&alert.annotations)),
            ("StartsAt", time(alert.starts_at)),
            ("EndsAt", time(alert.ends_at)),
            ("GeneratorURL", string(&alert.generator_url)),
            ("Fingerprint", string(&alert.fingerprint)),
        ],
    )
}

/// What templates see.
pub(crate) fn data(payload: &Payload) -> Value {
    let alerts: Arc<[Value]> = payload.alerts.iter().map(alert).collect();
    object(
        "notification",
        [
            ("Receiver", string(&payload.receiver)),
            ("Status", string(payload.status)),
            ("Alerts", Value::List(alerts)),
            ("GroupLabels", labels(&payload.group_labels)),
            ("CommonLabels", labels(&payload.common_labels)),
            ("CommonAnnotations", labels(&payload.common_annotations)),
            ("ExternalURL", string(&payload.external_url)),
        ],
    )
}
