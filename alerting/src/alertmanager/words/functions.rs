//! What templates may call: Alertmanager's functions, and the methods of its data.

use std::sync::Arc;

use crate::{
    clock,
    template::{
        Functions, Site, Value, between, failed, format_layout, in_zone, kind_of, moment, object,
        prometheus, string_map, to_json, unix_nanos,
    },
};

/// All functions and methods.
pub(super) fn functions(external_url: &str) -> Functions {
    let site = Site { external_url: external_url.to_owned() };
    let text = |text: String| Value::String(text.into());
    prometheus(&site, |_| Err("a notification asks for no samples".to_owned()))
        .with("trimSpace", move |a| Ok(text(a.strings::<1>()?[0].trim().to_owned())))
        .with("join", move |a| {
            let [separator, list] = a.exactly()?;
            let separator = a.string(separator)?;
            let Value::List(list) = list else { return Err(failed("join: a list is expected")) };
            let parts: Vec<String> = list.iter().map(ToString::to_string).collect();
            Ok(text(parts.join(separator)))
        })
        .with("stringSlice", |a| Ok(Value::List(a.args.into())))
        .with("safeUrl", |a| Ok(Value::String(a.strings::<1>()?[0].into())))
        .with("date", |a| {
            let [layout, at] = a.exactly()?;
            let layout = a.string(layout)?;
            let at = moment(at).ok_or_else(|| failed("date: a time is expected"))?;
            Ok(Value::String(format_layout(layout, at).into()))
        })
        .with("tz", |a| {
            let [zone, at] = a.exactly()?;
            in_zone(at, a.string(zone)?).map_err(|e| failed(format!("tz: {e}")))
        })
        .with("since", |a| {
            let [at] = a.exactly()?;
            let at = unix_nanos(at).ok_or_else(|| failed("since: a time is expected"))?;
            Ok(between(at, clock::now().timestamp_nanos_opt().unwrap_or(i64::MAX)))
        })
        .with("toJson", move |a| {
            let [value] = a.exactly()?;
            to_json(value).map(text)
        })
        .with("urlUnescape", move |a| {
            let unescaped = url::form_urlencoded::parse(a.strings::<1>()?[0].as_bytes())
                .map(|(name, _)| name.into_owned())
                .collect();
            Ok(text(unescaped))
        })
        .with_methods(methods)
}

/// `.Alerts.Firing`, `.CommonLabels.SortedPairs`, `.Names`, …
fn methods(value: &Value, name: &str, args: &[Value]) -> Option<gotmpl::Result<Value>> {
    match (value, name) {
        (Value::List(alerts), "Firing" | "Resolved") => {
            let wanted = name.to_lowercase();
            let is = |alert: &&Value| {
                alert.field("Status").and_then(Value::as_str) == Some(wanted.as_str())
            };
            Some(Ok(Value::List(alerts.iter().filter(is).cloned().collect())))
        }
        (Value::List(pairs), "Names" | "Values") => {
            let field = &name[..name.len() - 1];
            let each = pairs.iter().map(|pair| pair.field(field).cloned().unwrap_or(Value::Nil));
            Some(Ok(Value::List(each.collect())))
        }
        (Value::Map(map), _) if kind_of(value).is_none() => {
            let pair = |(name, value): (&Arc<str>, &Value)| {
                let name = Value::String(Arc::clone(name));
                object("pair", [("Name", name), ("Value", value.clone())])
            };
            match name {
                "SortedPairs" => {
                    // The alert's name first, as Alertmanager sorts them.
                    let (first, others): (Vec<_>, Vec<_>) =
                        map.iter().partition(|(name, _)| name.as_ref() == "alertname");
                    Some(Ok(Value::List(first.into_iter().chain(others).map(pair).collect())))
                }
                "Names" => Some(Ok(Value::List(
                    map.keys().map(|name| Value::String(Arc::clone(name))).collect(),
                ))),
                "Values" => Some(Ok(Value::List(map.values().cloned().collect()))),
                "Remove" => {
                    let Some(Value::List(gone)) = args.first() else {
                        return Some(Err(failed("Remove: a list of names is expected")));
                    };
                    let gone: Vec<&str> = gone.iter().filter_map(Value::as_str).collect();
                    let kept = map.iter().filter(|(name, _)| !gone.contains(&name.as_ref()));
                    let kept: Vec<(String, String)> =
                        kept.map(|(n, v)| (n.to_string(), v.to_string())).collect();
                    Some(Ok(string_map(kept.iter().map(|(n, v)| (n, v)))))
                }
                _ => None,
            }
        }
        _ => None,
    }
}
