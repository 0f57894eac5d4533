//! A recording rule's step: rows in, samples of the recorded series out. Pure.

use std::collections::BTreeSet;

use super::model::{Answered, Labels, RecordRule, Rule, Sample};

/// The samples of one evaluation, at `sample_ms`.
///
/// # Errors
/// When two rows come to the same labels, or there are more than `limit` series.
pub(super) fn step(
    rule: &Rule,
    record: &RecordRule,
    rows: Vec<Answered>,
    sample_ms: i64,
    limit: usize,
) -> Result<Vec<Sample>, String> {
    let mut there: BTreeSet<Labels> = BTreeSet::new();
    let mut samples = Vec::with_capacity(rows.len());
    for row in rows {
        let mut labels = row.labels;
        labels.insert("__name__".to_owned(), record.name.clone());
        for (name, text) in &rule.labels {
            labels.insert(name.clone(), text.raw.clone());
        }
        labels.retain(|_, value| !value.is_empty());
        if !there.insert(labels.clone()) {
            return Err(format!(
                "two rows of the answer come to the same labels {labels:?}; keep apart what tells them apart"
            ));
        }
        samples.push(Sample { labels, timestamp_ms: sample_ms, value: row.value });
    }
    match limit > 0 && samples.len() > limit {
        true => Err(format!("{} series are more than the group's limit of {limit}", samples.len())),
        false => Ok(samples),
    }
}
