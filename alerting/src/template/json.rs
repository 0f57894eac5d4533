//! Values as JSON (`toJson`), as Go's `encoding/json` writes what Alertmanager's templates see. Pure.

use gotmpl::Value;
use serde_json::{Map, Number, Value as Json};

use super::{
    failed, kind_of,
    member::KIND,
    time::{self, moment},
};

/// What Alertmanager writes for a time that is not there.
const NO_TIME: &str = "0001-01-01T00:00:00Z";

/// The text of a value.
///
/// # Errors
/// Of numbers that JSON has not, and of functions.
pub fn to_json(value: &Value) -> gotmpl::Result<String> {
    let text = json(value)?.to_string();
    // As Go does by default, so that the text may stand in HTML.
    Ok(text
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029"))
}

fn json(value: &Value) -> gotmpl::Result<Json> {
    Ok(match (value, kind_of(value)) {
        (Value::Nil, _) => Json::Null,
        (Value::Bool(is), _) => Json::Bool(*is),
        (Value::Int(int), _) => Json::from(*int),
        (Value::Uint(int), _) => Json::from(*int),
        (Value::Float(float), _) => number(*float)?,
        (Value::String(text), _) => Json::from(&**text),
        (Value::List(list), _) => list.iter().map(json).collect::<gotmpl::Result<_>>()?,
        (_, Some(time::KIND)) => match moment(value)
            .filter(|at| at.timestamp_subsec_nanos() > 0 || at.timestamp() != 0)
        {
            Some(at) => time::format_layout("2006-01-02T15:04:05.999999999Z07:00", at).into(),
            None => NO_TIME.into(),
        },
        (_, Some(time::DURATION)) => value.field("nanos").map_or(Ok(Json::Null), json)?,
        (Value::Map(map), kind) => {
            let mut object = Map::new();
            for (name, value) in map.iter().filter(|(name, _)| name.as_ref() != KIND) {
                // Go's structs have names of their own for JSON, and a pair has not.
                let name = match kind {
                    Some("alert" | "notification") => lower_first(name),
                    _ => name.to_string(),
                };
                object.insert(name, json(value)?);
            }
            Json::Object(object)
        }
        (other, _) => {
            return Err(failed(format!("toJson: {} is not JSON", other.type_name())));
        }
    })
}

fn number(float: f64) -> gotmpl::Result<Json> {
    // A whole number has no point, as Go writes it.
    #[expect(clippy::cast_possible_truncation, reason = "the range is judged before")]
    let whole = (float.fract() == 0.0 && float.abs() < 1e15).then_some(float as i64);
    let number = whole.map(Number::from).or_else(|| Number::from_f64(float));
    number.map(Json::Number).ok_or_else(|| failed(format!("toJson: {float} is not JSON")))
}

fn lower_first(name: &str) -> String {
    let mut characters = name.chars();
    match characters.next() {
        Some(first) => first.to_lowercase().chain(characters).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::{from_unix_nanos, object};

    #[test]
    fn as_go_writes_it() {
        let text = |text: &str| Value::String(text.into());
        let alert =
            object("alert", [("GeneratorURL", text("a&b")), ("EndsAt", from_unix_nanos(0))]);
        for (value, expected) in [
            (Value::Nil, "null"),
            (Value::Float(1.0), "1"),
            (Value::Float(0.25), "0.25"),
            (Value::Int(-3), "-3"),
            (text("<a \"b\">"), r#""\u003ca \"b\"\u003e""#),
            (Value::List([Value::Bool(true), text("x")].into()), r#"[true,"x"]"#),
            (from_unix_nanos(1_767_603_600_500_000_000), r#""2026-01-05T09:00:00.5Z""#),
            (
                object("pair", [("Name", text("a")), ("Value", text("b"))]),
                r#"{"Name":"a","Value":"b"}"#,
            ),
            (alert, r#"{"endsAt":"0001-01-01T00:00:00Z","generatorURL":"a\u0026b"}"#),
        ] {
            assert_eq!(to_json(&value).expect("JSON"), expected);
        }
        assert!(to_json(&Value::Float(f64::NAN)).is_err());
    }
}
