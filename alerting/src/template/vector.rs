//! Answers of queries in templates: lists of samples, and what picks from them. Pure.

use std::{collections::BTreeMap, sync::Arc};

use gotmpl::Value;

use super::{Functions, failed, kind_of, object, string_map};

/// The kind of a sample.
const SAMPLE: &str = "sample";

/// One sample of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct TemplateSample {
    /// All labels; a string answer has its text as `__value__`.
    pub labels: BTreeMap<String, String>,
    /// The value.
    pub value: f64,
}

/// A list of samples, in this order.
#[must_use]
pub fn samples(samples: &[TemplateSample]) -> Value {
    let sample = |s: &TemplateSample| {
        object(SAMPLE, [("Labels", string_map(&s.labels)), ("Value", Value::Float(s.value))])
    };
    Value::List(samples.iter().map(sample).collect())
}

/// With the functions on answers.
pub(super) fn with_vectors(functions: Functions) -> Functions {
    functions
        .with("first", |a| match a.exactly()? {
            [Value::List(list)] => list
                .first()
                .cloned()
                .ok_or_else(|| failed("first: the list has no elements; ask with `with` before")),
            _ => Err(failed("first: the answer of a query is expected")),
        })
        .with("value", |a| {
            let [sample] = a.exactly()?;
            field(sample, "value", "Value")
        })
        .with("label", |a| {
            let [name, sample] = a.exactly()?;
            label(sample, "label", a.string(name)?)
        })
        .with("strvalue", |a| {
            let [sample] = a.exactly()?;
            label(sample, "strvalue", "__value__")
        })
        .with("sortByLabel", |a| match a.exactly()? {
            [Value::String(name), Value::List(list)] => {
                let mut list = list.to_vec();
                list.sort_by_cached_key(|sample| {
                    label(sample, "sortByLabel", name).map(|l| l.to_string()).unwrap_or_default()
                });
                Ok(Value::List(list.into()))
            }
            _ => Err(failed("sortByLabel: a label's name and the answer of a query are expected")),
        })
        .with("args", |a| {
            let named = a.args.iter().enumerate();
            let named = named.map(|(at, value)| (Arc::from(format!("arg{at}")), value.clone()));
            Ok(Value::Map(Arc::new(named.collect())))
        })
}

fn field(sample: &Value, function: &str, name: &str) -> gotmpl::Result<Value> {
    let found = sample.field(name).filter(|_| kind_of(sample) == Some(SAMPLE));
    found.cloned().ok_or_else(|| {
        failed(format!("{function}: a sample is expected, not {}", sample.type_name()))
    })
}

fn label(sample: &Value, function: &str, name: &str) -> gotmpl::Result<Value> {
    let labels = field(sample, function, "Labels")?;
    Ok(labels.field(name).cloned().unwrap_or(Value::String("".into())))
}
