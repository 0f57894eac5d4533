//! What stands behind a dot: fields of objects, entries of maps, methods. Pure.
//!
//! Go tells a struct from a map by its type; here an *object* is a map with a hidden entry that names its kind. An
//! object without the field is an error, a map of strings without the entry gives "", as Go does under
//! `missingkey=zero`.

use std::{collections::BTreeMap, sync::Arc};

use gotmpl::Value;

use super::{Functions, failed, number, time};

/// The hidden entry that makes an object of a map.
pub(super) const KIND: &str = "\u{0}kind";

/// A value with a kind, fields, and the methods of its kind.
#[must_use]
pub fn object<'a>(kind: &str, fields: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    let fields = fields.into_iter().map(|(name, value)| (Arc::from(name), value));
    let kind = (Arc::from(KIND), Value::String(kind.into()));
    Value::Map(Arc::new(fields.chain([kind]).collect()))
}

/// The kind of an object.
#[must_use]
pub fn kind_of(value: &Value) -> Option<&str> {
    match value {
        Value::Map(map) => map.get(KIND).and_then(Value::as_str),
        _ => None,
    }
}

/// A map of strings, such as labels.
#[must_use]
pub fn string_map<'a>(entries: impl IntoIterator<Item = (&'a String, &'a String)>) -> Value {
    let entries = entries.into_iter();
    let entries = entries.map(|(k, v)| (Arc::from(k.as_str()), Value::String(v.as_str().into())));
    Value::Map(Arc::new(entries.collect()))
}

/// `value.name`, or `value.name args…`.
pub(super) fn member(
    functions: &Functions,
    value: &Value,
    name: &str,
    args: &[Value],
) -> gotmpl::Result<Value> {
    if let Some(answer) = functions.method(value, name, args) {
        return answer;
    }
    let found = match value {
        Value::Map(map) => map.get(name).cloned(),
        Value::Nil => return Err(failed(format!("nothing has no field {name:?}"))),
        _ => None,
    };
    match (found, value) {
        (Some(_), _) if !args.is_empty() => Err(failed(format!("{name} takes no arguments"))),
        (Some(found), _) => Ok(found),
        (None, Value::Map(map)) if kind_of(value).is_none() => Ok(zero(map)),
        _ => {
            let what = kind_of(value).unwrap_or(value.type_name());
            Err(failed(format!("{what} has no field or method {name:?}")))
        }
    }
}

/// What a map gives for an entry that is not there.
fn zero(map: &BTreeMap<Arc<str>, Value>) -> Value {
    match map.values().all(|value| matches!(value, Value::String(_))) {
        true => Value::String("".into()),
        false => Value::Nil,
    }
}

/// What is printed for a value. What is a string, or printed well as it is, stays what it is.
pub(super) fn show(value: &Value) -> Value {
    match value {
        Value::Float(_) | Value::List(_) | Value::Map(_) => Value::String(go_text(value).into()),
        other => other.clone(),
    }
}

/// A value as Go's `%v` writes it.
pub(super) fn go_text(value: &Value) -> String {
    let joined = |values: &mut dyn Iterator<Item = String>| values.collect::<Vec<_>>().join(" ");
    match (value, kind_of(value)) {
        (Value::Float(float), _) => number::shortest(*float),
        (Value::List(list), _) => format!("[{}]", joined(&mut list.iter().map(go_text))),
        (_, Some(time::KIND)) => time::show(value),
        (_, Some(time::DURATION)) => time::show_duration(value),
        (Value::Map(map), Some(_)) => {
            let fields = map.iter().filter(|(name, _)| name.as_ref() != KIND);
            format!("{{{}}}", joined(&mut fields.map(|(_, value)| go_text(value))))
        }
        (Value::Map(map), None) => {
            let entries = &mut map.iter().map(|(name, value)| format!("{name}:{}", go_text(value)));
            format!("map[{}]", joined(entries))
        }
        (other, _) => other.to_string(),
    }
}

/// As Go's `Sprint`: a space between two values of which none is a string.
pub(super) fn print(values: &[Value]) -> String {
    let is_string = |value: &Value| value.as_str().is_some();
    let mut out = String::new();
    for (at, value) in values.iter().enumerate() {
        if at > 0 && !is_string(value) && !is_string(&values[at - 1]) {
            out.push(' ');
        }
        out.push_str(&go_text(value));
    }
    out
}
