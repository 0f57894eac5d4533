//! JSON, written so that a difference is readable: what fits on a line stands on one.

use std::fmt::Write;

/// Widest line.
const WIDTH: usize = 120;

/// A value; the fields of an object keep their order.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// The document, with a line's end behind it.
    pub(super) fn document(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, 0);
        out.push('\n');
        out
    }

    fn write(&self, out: &mut String, depth: usize) {
        let line = self.line();
        let (open, close, items): (_, _, Vec<(Option<&str>, &Json)>) = match self {
            Self::List(list) if depth + line.len() > WIDTH => {
                ('[', ']', list.iter().map(|item| (None, item)).collect())
            }
            Self::Object(fields) if depth + line.len() > WIDTH => {
                ('{', '}', fields.iter().map(|(name, value)| (Some(&**name), value)).collect())
            }
            _ => return out.push_str(&line),
        };
        out.push(open);
        for (at, (name, value)) in items.into_iter().enumerate() {
            out.push_str(if at == 0 { "\n" } else { ",\n" });
            out.push_str(&" ".repeat(depth + 1));
            if let Some(name) = name {
                let _ = write!(out, "{}: ", quoted(name));
            }
            value.write(out, depth + 1);
        }
        let _ = write!(out, "\n{}{close}", " ".repeat(depth));
    }

    fn line(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Number(value) => value.to_string(),
            Self::Text(text) => quoted(text),
            Self::List(list) => {
                let items: Vec<String> = list.iter().map(Self::line).collect();
                format!("[{}]", items.join(", "))
            }
            Self::Object(fields) => {
                let field =
                    |(name, value): &(String, Self)| format!("{}: {}", quoted(name), value.line());
                let fields: Vec<String> = fields.iter().map(field).collect();
                format!("{{{}}}", fields.join(", "))
            }
        }
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Json {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Json {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<f64> for Json {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl From<u32> for Json {
    fn from(value: u32) -> Self {
        Self::Number(value.into())
    }
}

impl From<Vec<Json>> for Json {
    fn from(list: Vec<Json>) -> Self {
        Self::List(list)
    }
}

/// An object.
pub(super) fn object<const N: usize>(fields: [(&str, Json); N]) -> Json {
    Json::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// A list of texts.
pub(super) fn texts(list: &[&str]) -> Json {
    list.iter().map(|text| Json::from(*text)).collect::<Vec<_>>().into()
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if c < ' ' => drop(write!(out, "\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_stands_on_one_line() {
        let long = "x".repeat(WIDTH);
        let value =
            object([("a", vec![1.into(), 0.1.into(), Json::Null].into()), ("b\"\n", true.into())]);
        assert_eq!(value.document(), "{\"a\": [1, 0.1, null], \"b\\\"\\n\": true}\n");
        let value = Json::List(vec![long.as_str().into(), 4_294_967_296.0.into()]);
        assert_eq!(value.document(), format!("[\n \"{long}\",\n 4294967296\n]\n"));
    }
}
