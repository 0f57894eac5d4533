//! OpenSLO v1 documents: what is promised, measured how, in whose words. Pure but for [`load`], which reads files.
//!
//! ```text
//! files ─▶ documents ─▶ judged whole: references resolved ─▶ [`Slo`] ─▶ rules (recording, alerts)
//!                                                               └─────▶ counts by the hour ─▶ reports
//! ```
//!
//! What the format has and Watchkeep has not is refused by name, never passed over.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use chrono_tz::Tz;

use crate::rule::{Expressions, Problem};

mod count;
mod documents;
mod judge;
mod rules;
mod shape;
#[cfg(test)]
mod tests;

pub(super) use count::count;
pub use judge::read;
pub use rules::rules;

/// How budget is spent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Method {
    /// By events: good of all.
    Occurrences,
    /// By slices of time of this many seconds: a slice is good when at least this share of it is.
    Timeslices {
        /// Length of a slice.
        seconds: u64,
        /// Share that makes a slice good.
        target: f64,
    },
    /// By slices of time: each counts as its share of good events, however many there were.
    RatioTimeslices {
        /// Length of a slice.
        seconds: u64,
    },
}

/// Over which time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimeWindow {
    /// The last so many hours.
    Rolling(u64),
    /// A unit of the calendar (`day`, `week`, `month` or `quarter`), on a zone's wall clock.
    Calendar(&'static str, Tz),
}

impl TimeWindow {
    /// How many days it has at most.
    #[must_use]
    pub fn days(&self) -> u64 {
        match self {
            Self::Rolling(hours) => hours.div_ceil(24),
            Self::Calendar("day", _) => 1,
            Self::Calendar("week", _) => 7,
            Self::Calendar("month", _) => 31,
            Self::Calendar(..) => 92,
        }
    }
}

/// Where numbers come from: PromQL.
#[derive(Debug, Clone, PartialEq)]
pub enum Indicator {
    /// Good (or bad) events of all; `counter`: both only grow.
    Ratio {
        /// Whether both are counters.
        counter: bool,
        /// Good ones, or bad ones.
        part: String,
        /// Whether `part` counts good ones.
        part_is_good: bool,
        /// All of them.
        total: String,
    },
    /// A ratio that somebody else has computed; `success`: of good events.
    Raw {
        /// The ratio.
        query: String,
        /// Whether it is of good events.
        success: bool,
    },
    /// A value that is good when it compares so.
    Threshold {
        /// The value.
        query: String,
        /// `<=`, `>=`, `<` or `>`.
        op: &'static str,
        /// What it is compared with.
        value: f64,
    },
}

/// When somebody is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// The policy.
    pub policy: String,
    /// Its severity.
    pub severity: String,
    /// The burn rate.
    pub threshold: f64,
    /// Over how many seconds.
    pub lookback_seconds: u64,
    /// For how many seconds it must be so.
    pub after_seconds: u64,
    /// Whether it is told when the rate is exceeded.
    pub breaching: bool,
    /// Whether it is told when there are no data.
    pub no_data: bool,
    /// Who is told: names of AlertNotificationTargets.
    pub targets: Vec<String>,
}

/// One objective of one document.
#[derive(Debug, Clone, PartialEq)]
pub struct Slo {
    /// The document's name; with several objectives, `-1`, `-2` … follow.
    pub name: String,
    /// The service that it is about.
    pub service: String,
    /// Words for people.
    pub display_name: String,
    /// Share that should be good.
    pub target: f64,
    /// How budget is spent.
    pub method: Method,
    /// Over which time.
    pub window: TimeWindow,
    /// Indicators and their weights: one, or those of a composite.
    pub indicators: Vec<(Indicator, f64)>,
    /// When somebody is told; empty: the pairs of the SRE workbook.
    pub alerts: Vec<Alert>,
    /// The file that it stands in.
    pub file: String,
    /// The line where its document begins.
    pub line: u64,
}

impl Slo {
    /// The name that its counts are kept and reported under.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{PREFIX}{}", self.name)
    }
}

/// Stands before the names of documents where services are.
const PREFIX: &str = "openslo.";

/// Whether counts that are kept under this name are an OpenSLO document's.
pub(super) fn is_key(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// Most files.
const FILES_MAX: usize = 10_000;

/// Reads and judges files, and the `.yml` and `.yaml` files of folders. Relative names are meant from `base`.
///
/// # Errors
/// Everything that is wrong, as file and line.
pub fn load(
    base: &Path,
    names: &[String],
    expressions: &dyn Expressions,
) -> Result<Vec<Slo>, Vec<Problem>> {
    let mut texts = BTreeMap::new();
    let mut problems = Vec::new();
    for name in names {
        for file in files(&base.join(name)) {
            match fs::read_to_string(&file) {
                Ok(text) => drop(texts.insert(file.display().to_string(), text)),
                Err(error) => problems.push(Problem {
                    file: file.display().to_string(),
                    line: None,
                    message: format!("cannot be read: {error}; name a file, or a folder of them"),
                }),
            }
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    read(&texts, expressions)
}

/// The file, or those of the folder.
fn files(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(path) else { return vec![path.to_owned()] };
    let mut found: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|end| end == "yml" || end == "yaml"))
        .take(FILES_MAX)
        .collect();
    found.sort();
    found
}
