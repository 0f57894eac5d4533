//! What happened when, as a table.

use chrono::{DateTime, Utc};

use crate::out;

/// What happened, in the order it is told.
#[derive(Debug, Default)]
pub(super) struct Timeline(Vec<(DateTime<Utc>, String, &'static str)>);

impl Timeline {
    /// Notes a fact and whose clock or record says so.
    pub(super) fn add(&mut self, at: DateTime<Utc>, what: impl Into<String>, source: &'static str) {
        self.0.push((at, what.into(), source));
    }

    /// Milliseconds from the first fact to the one that begins with `what`.
    pub(super) fn since_start(&self, what: &str) -> i64 {
        let found = self.0.iter().find(|(_, fact, _)| fact.starts_with(what));
        let start = self.0.iter().map(|(at, ..)| *at).min();
        found.zip(start).map_or(0, |((at, ..), start)| (*at - start).num_milliseconds())
    }

    /// Prints it, in milliseconds since the first fact and since the one before.
    pub(super) fn print(mut self) {
        self.0.sort_by_key(|(at, ..)| *at);
        let Some((start, ..)) = self.0.first().cloned() else { return };
        let mut before = start;
        let head = ["TIME", "SINCE FAULT", "STEP", "WHAT", "KNOWN FROM"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        for (at, what, source) in self.0 {
            rows.push(vec![
                at.format("%H:%M:%S%.3f").to_string(),
                format!("{:>8} ms", (at - start).num_milliseconds()),
                format!("{:>6}", format!("+{}", (at - before).num_milliseconds())),
                what,
                source.to_owned(),
            ]);
            before = at;
        }
        out::table(&rows);
    }
}
