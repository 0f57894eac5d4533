//! Where in the YAML text each value stands: `alerting.pages.receivers[0]` → line 41.
//!
//! A second, untyped reading of the same text. Errors name places with it; nothing else does.

use std::fmt;

use serde::{Deserialize, Deserializer, de};
use serde_saphyr::{Location, Spanned};

use super::parse;

/// One value of the document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its path: `node.id`, `alerting.people[0].name`.
    pub(crate) path: String,
    /// The line of its key, or of the list element.
    pub(crate) line: u64,
    /// Its text when it is a scalar.
    pub(crate) text: Option<String>,
    key: (u64, u64),
    value: (u64, u64),
}

/// Every value of a document, parents before children.
#[derive(Debug, Default)]
pub(crate) struct Index(Vec<Entry>);

impl Index {
    /// Reads `text`.
    ///
    /// # Errors
    /// When it is not YAML.
    pub(crate) fn new(text: &str) -> Result<Self, serde_saphyr::Error> {
        let mut entries = Vec::new();
        let root: Spanned<Tree> = parse::read(parse::Dialect::Yaml12, text)?;
        root.value.collect("", &mut entries);
        Ok(Self(entries))
    }

    /// The line of `path`, or of the closest parent that is written down.
    pub(crate) fn line(&self, path: &str) -> Option<u64> {
        let mut path = path;
        loop {
            if let Some(entry) = self.0.iter().find(|e| e.path == path) {
                return Some(entry.line);
            }
            path = &path[..path.rfind(['.', '['])?];
        }
    }

    /// Whether `path` itself is written down.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.0.iter().any(|e| e.path == path)
    }

    /// The innermost value whose key or text begins at this place.
    pub(crate) fn at(&self, line: u64, column: u64) -> Option<&Entry> {
        let here = (line, column);
        self.0.iter().rfind(|e| e.value == here || e.key == here)
    }
}

#[derive(Debug)]
enum Tree {
    Map(Vec<(Spanned<String>, Spanned<Tree>)>),
    List(Vec<Spanned<Tree>>),
    Scalar(String),
}

impl Tree {
    fn collect(&self, parent: &str, entries: &mut Vec<Entry>) {
        match self {
            Self::Map(fields) => {
                for (key, value) in fields {
                    let dot = if parent.is_empty() { "" } else { "." };
                    let path = format!("{parent}{dot}{}", key.value);
                    value.value.enter(
                        path,
                        place(&key.referenced),
                        place(&value.referenced),
                        entries,
                    );
                }
            }
            Self::List(elements) => {
                for (at, value) in elements.iter().enumerate() {
                    let here = place(&value.referenced);
                    value.value.enter(format!("{parent}[{at}]"), here, here, entries);
                }
            }
            Self::Scalar(_) => {}
        }
    }

    fn enter(&self, path: String, key: (u64, u64), value: (u64, u64), entries: &mut Vec<Entry>) {
        let text = if let Self::Scalar(text) = self { Some(text.clone()) } else { None };
        entries.push(Entry { path: path.clone(), line: key.0, text, key, value });
        self.collect(&path, entries);
    }
}

fn place(location: &Location) -> (u64, u64) {
    (location.line(), location.column())
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> de::Visitor<'de> for Reader {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Tree::Map(fields))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Tree, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = list.next_element()? {
            elements.push(element);
        }
        Ok(Tree::List(elements))
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar(String::new()))
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar(String::new()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_paths() {
        let text = "node:\n  id: 1\nalerting:\n  pages: {receivers: [a,\n    b]}\n  people:\n    - name: x\n";
        let index = Index::new(text).expect("YAML");
        for (path, line) in [
            ("node", Some(1)),
            ("node.id", Some(2)),
            ("node.name", Some(1)),
            ("alerting.pages.receivers[0]", Some(4)),
            ("alerting.pages.receivers[1]", Some(5)),
            ("alerting.people[0].name", Some(7)),
            ("alerting.people[0].email", Some(7)),
            ("alerting.people[7]", Some(6)),
            ("telemetry.log_format", None),
        ] {
            assert_eq!(index.line(path), line, "{path}");
        }
        let entry = index.at(2, 7).expect("the 1 of id");
        assert_eq!((entry.path.as_str(), entry.text.as_deref()), ("node.id", Some("1")));
    }
}
