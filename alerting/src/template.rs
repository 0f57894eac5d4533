//! Go templates, as rule files and `alertmanager.yml` have them: parsed once with every name judged, rendered
//! with limits. The language itself is crate `gotmpl`'s; what it lacks is added here: methods on data
//! (`.Alerts.Firing`), places in errors, and the functions of Prometheus. No I/O and no clock: `query` and what
//! else asks the world comes in as a function.
//!
//! ```text
//! text ─parse─▶ tree ─judge (functions, variables)─▶ tree with `.a.b` as calls of `member` ─render(data)─▶ text
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use gotmpl::parse::{DefineNode, ListNode, Node, Parser};
pub use gotmpl::{Value, ValueFunc};
use thiserror::Error;

mod functions;
mod humanize;
mod json;
mod member;
mod number;
mod prometheus;
mod rewrite;
mod strings;
#[cfg(test)]
mod tests;
mod time;
mod vector;

pub use functions::{Arguments, Functions, failed};
pub use humanize::{humanize, humanize_1024, humanize_duration, humanize_percentage};
pub use json::to_json;
pub use member::{kind_of, object, string_map};
pub use number::{float, shortest};
pub(crate) use prometheus::link;
pub use prometheus::{Site, prometheus, with_now};
pub use time::{between, format_layout, from_unix_nanos, in_zone, moment, unix_nanos};
pub use vector::{TemplateSample, samples};

/// Longest text a template may render to.
pub const OUTPUT_BYTES_MAX: usize = 1 << 20;
/// Turns of all `range` loops of one rendering together.
pub const RANGE_TURNS_MAX: u64 = 100_000;

/// Actions that are tried to find the one that is too many.
const STRAY_LOOKUPS_MAX: usize = 1_000;

/// Why a template was not parsed or rendered: the template, the line in it (1: its first) and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("template {name}:{line}: {message}")]
pub struct TemplateError {
    /// The template's name.
    pub name: String,
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

/// How messages end of what is too much; with less data it would do.
const SHORTEN: &str = "; shorten it";

impl TemplateError {
    /// Whether the same template would do with less data.
    #[must_use]
    pub fn is_too_much(&self) -> bool {
        self.message.ends_with(SHORTEN)
    }
}

/// Templates that know each other by name (`define`, `template`), as one file or many have them.
#[derive(Debug, Clone, Default)]
pub struct Library {
    trees: BTreeMap<String, ListNode>,
    /// The texts' names; places in trees count into it.
    names: Vec<String>,
}

impl Library {
    /// Takes in the `define`s of a text and answers with what stands outside of them, ready to be rendered. What is
    /// defined again replaces what was.
    ///
    /// `variables` are the names, with `$`, that [`Template::render`] will be given.
    ///
    /// # Errors
    /// When the text is not a template, or names a function or variable that is not there.
    pub fn parse(
        &mut self,
        name: &str,
        text: &str,
        functions: &Functions,
        variables: &[&str],
    ) -> Result<Template, TemplateError> {
        let wrong = |error: gotmpl::TemplateError| error_of(name, error, 1);
        Parser::new(text, "{{", "}}").and_then(Parser::parse).map_err(wrong)?;
        let (body, defines) = parse(text).map_err(wrong)?;
        let Some(defines) = whole(defines) else {
            let message = "unexpected {{end}} or {{else}}: nothing is open here".to_owned();
            return Err(TemplateError { name: name.to_owned(), line: stray(text), message });
        };
        let text_at = self.names.len();
        let judge = |tree, known: &[&str]| {
            rewrite::rewrite(tree, text_at, functions, known)
                .map_err(|(line, message)| TemplateError { name: name.to_owned(), line, message })
        };
        let mut defined = Vec::new();
        for define in defines {
            defined.push((define.name.to_string(), judge(define.body, &[])?));
        }
        let body = judge(body, variables)?;
        self.names.push(name.to_owned());
        self.trees.extend(defined);
        Ok(Template { body, library: self.clone() })
    }

    /// Whether a template of this name is defined.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.trees.contains_key(name)
    }
}

/// A template that was judged. Cheap to render, over and over.
#[derive(Debug, Clone)]
pub struct Template {
    body: ListNode,
    library: Library,
}

impl Template {
    /// A template by itself.
    ///
    /// # Errors
    /// As [`Library::parse`].
    pub fn parse(
        name: &str,
        text: &str,
        functions: &Functions,
        variables: &[&str],
    ) -> Result<Self, TemplateError> {
        Library::default().parse(name, text, functions, variables)
    }

    /// The name of a template that it calls, or that one of those calls, and that is defined nowhere.
    #[must_use]
    pub fn missing(&self) -> Option<&str> {
        let mut seen = BTreeSet::new();
        let mut lists = vec![&self.body];
        while let Some(list) = lists.pop() {
            for node in &list.nodes {
                match node {
                    Node::List(list) => lists.push(list),
                    Node::If(branch) | Node::Range(branch) | Node::With(branch) => {
                        lists.push(&branch.body);
                        lists.extend(&branch.else_body);
                    }
                    Node::Template(called) => match self.library.trees.get(called.name.as_str()) {
                        None => return Some(called.name.as_str()),
                        Some(tree) if seen.insert(called.name.as_str()) => lists.push(tree),
                        Some(_) => {}
                    },
                    _ => {}
                }
            }
        }
        None
    }

    /// Renders to plain text. `variables` are bound before the first line: `("$labels", …)`.
    ///
    /// # Errors
    /// When something does not fit the data, a function fails, or a limit is reached.
    pub fn render(
        &self,
        data: &Value,
        variables: &[(&str, Value)],
        functions: &Functions,
    ) -> Result<String, TemplateError> {
        let (place, functions) = self.equip(variables, functions);
        let mut template = gotmpl::Template::new(ENTRY)
            .max_range_iters(RANGE_TURNS_MAX)
            .funcs(functions)
            .add_parse_tree(ENTRY, rewrite::bind(self.body.clone(), variables));
        for (name, tree) in &self.library.trees {
            template = template.add_parse_tree(name, tree.clone());
        }
        let mut out = Bounded::default();
        let rendered = template.execute_template_fmt(&mut out, ENTRY, data);
        self.finish(rendered, out, &place)
    }

    /// Renders to HTML: what comes from the data is escaped for the place where it stands.
    ///
    /// # Errors
    /// As [`Self::render`], and when the text is no HTML that can be escaped safely.
    pub fn render_html(
        &self,
        data: &Value,
        variables: &[(&str, Value)],
        functions: &Functions,
    ) -> Result<String, TemplateError> {
        let (place, functions) = self.equip(variables, functions);
        let body = rewrite::bind(self.body.clone(), variables);
        let mut template =
            gotmpl::html::Template::new(ENTRY).max_range_iters(RANGE_TURNS_MAX).funcs(functions);
        let trees = self.library.trees.iter().map(|(name, tree)| (name.as_str(), tree.clone()));
        for (name, tree) in trees.chain([(BODY, body)]) {
            template = template.add_parse_tree(name, tree).map_err(|e| self.locate(e, &place))?;
        }
        let call = format!("{{{{template {BODY:?} .}}}}");
        let template = template.parse(&call).map_err(|e| self.locate(e, &place))?;
        let mut out = Bounded::default();
        let rendered = template.execute_fmt(&mut out, data);
        self.finish(rendered, out, &place)
    }

    /// The functions of one rendering, among them those that the rewritten tree calls.
    fn equip(
        &self,
        variables: &[(&str, Value)],
        functions: &Functions,
    ) -> (Place, gotmpl::FuncMap) {
        let place = Place::default();
        let mut map = functions.map();
        let (text, line) = (Arc::clone(&place.text), Arc::clone(&place.line));
        let at: ValueFunc = Arc::new(move |args| {
            if let [Value::Int(t), Value::Int(l)] = args {
                text.store(usize::try_from(*t).unwrap_or(0), Ordering::Relaxed);
                line.store(usize::try_from(*l).unwrap_or(0), Ordering::Relaxed);
            }
            Ok(Value::Nil)
        });
        map.insert(rewrite::AT.to_owned(), at);
        map.extend(functions.members());
        for (name, value) in variables {
            let value = value.clone();
            map.insert(rewrite::binding(name), Arc::new(move |_| Ok(value.clone())));
        }
        (place, map)
    }

    fn finish(
        &self,
        rendered: Result<(), gotmpl::TemplateError>,
        out: Bounded,
        place: &Place,
    ) -> Result<String, TemplateError> {
        match rendered {
            Ok(()) => Ok(out.text),
            Err(_) if out.full => {
                let message = format!("the text is longer than {OUTPUT_BYTES_MAX} bytes{SHORTEN}");
                Err(TemplateError { message, ..self.locate(gotmpl::TemplateError::Write, place) })
            }
            Err(error) => Err(self.locate(error, place)),
        }
    }

    fn locate(&self, error: gotmpl::TemplateError, place: &Place) -> TemplateError {
        let names = &self.library.names;
        let name = names.get(place.text.load(Ordering::Relaxed)).or(names.last());
        let line = place.line.load(Ordering::Relaxed).max(1);
        error_of(name.map_or("", String::as_str), error, line)
    }
}

/// Stands at the end of every text: the crate stops at an `{{end}}` too many, and says nothing.
const END: &str = "watchkeep: the end";

/// The body and what is defined in it, [`END`] among them when all of the text was read.
fn parse(text: &str) -> Result<(ListNode, Vec<DefineNode>), gotmpl::TemplateError> {
    let text = format!("{text}{{{{define {END:?}}}}}{{{{end}}}}");
    Parser::new(&text, "{{", "}}")?.parse()
}

/// What is defined, when all of the text was read.
fn whole(mut defines: Vec<DefineNode>) -> Option<Vec<DefineNode>> {
    let all = defines.len();
    defines.retain(|define| define.name != END);
    (defines.len() < all).then_some(defines)
}

/// The line of the first action with which reading stops.
fn stray(text: &str) -> usize {
    let ends = text.match_indices("}}").map(|(at, end)| at + end.len());
    let stops = |at: &usize| parse(&text[..*at]).is_ok_and(|(_, defines)| whole(defines).is_none());
    let at = ends.take(STRAY_LOOKUPS_MAX).find(stops).unwrap_or(text.len());
    text[..at].matches('\n').count() + 1
}

/// What is rendered; no text can define a template of this name by accident and mean it.
const ENTRY: &str = "\u{0}entry";
const BODY: &str = "watchkeep.body";

/// Where a rendering is.
#[derive(Debug, Default)]
struct Place {
    text: Arc<AtomicUsize>,
    line: Arc<AtomicUsize>,
}

/// Text up to [`OUTPUT_BYTES_MAX`].
#[derive(Debug, Default)]
struct Bounded {
    text: String,
    full: bool,
}

impl Write for Bounded {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        if self.text.len() + more.len() > OUTPUT_BYTES_MAX {
            self.full = true;
            return Err(fmt::Error);
        }
        self.text.push_str(more);
        Ok(())
    }
}

/// The crate's error in our words; `line` where it does not know one.
fn error_of(name: &str, error: gotmpl::TemplateError, line: usize) -> TemplateError {
    use gotmpl::TemplateError as Of;
    let (line, message) = match error {
        Of::Parse { line: own, message, .. } | Of::Lex { line: own, message, .. } => {
            (own.max(1), message)
        }
        Of::Exec(message) => (line, message),
        Of::Escape { line: own, description, .. } => (own.max(line), description),
        Of::UndefinedTemplate(name) => (line, format!("template {name:?} is not defined")),
        Of::RangeIterLimit => {
            (line, format!("more than {RANGE_TURNS_MAX} turns of range{SHORTEN}"))
        }
        other => (line, other.to_string()),
    };
    TemplateError { name: name.to_owned(), line, message }
}
