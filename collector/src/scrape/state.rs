//! What is scraped and how it went last, for whoever asks. Written by the scrapes, read over HTTP.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

/// A page that this collector fetches.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetState {
    /// The job.
    pub job: String,
    /// Where the page is.
    pub url: String,
    /// What is put on every sample.
    pub labels: BTreeMap<String, String>,
    /// Between two scrapes.
    pub interval: Duration,
    /// Longest wait.
    pub timeout: Duration,
    /// How it went last; none: it was not fetched yet.
    pub last: Option<LastScrape>,
}

/// How a scrape went.
#[derive(Debug, Clone, PartialEq)]
pub struct LastScrape {
    /// Milliseconds since 1970.
    pub at_ms: i64,
    /// How long it took.
    pub seconds: f64,
    /// Why it failed; none: it did not.
    pub error: Option<String>,
}

/// All targets of a collector. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct ScrapeState(Arc<RwLock<HashMap<(usize, String), TargetState>>>);

impl ScrapeState {
    /// All of them, by job and URL.
    #[must_use]
    pub fn targets(&self) -> Vec<TargetState> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = known.values().cloned().collect();
        all.sort_by(|a, b| (&a.job, &a.url, &a.labels).cmp(&(&b.job, &b.url, &b.labels)));
        all
    }

    pub(super) fn begin(&self, id: (usize, String), target: TargetState) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(id, target);
    }

    pub(super) fn end(&self, id: &(usize, String)) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    pub(super) fn scraped(&self, id: &(usize, String), last: LastScrape) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(target) = known.get_mut(id) {
            target.last = Some(last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ended_is_forgotten() {
        let state = ScrapeState::default();
        let target = |job: &str| TargetState {
            job: job.to_owned(),
            url: "http://h/metrics".to_owned(),
            labels: BTreeMap::new(),
            interval: Duration::from_secs(15),
            timeout: Duration::from_secs(10),
            last: None,
        };
        let id = |at: usize| (at, "k".to_owned());
        state.begin(id(2), target("b"));
        state.begin(id(1), target("a"));
        let last = LastScrape { at_ms: 5, seconds: 0.1, error: Some("refused".to_owned()) };
        state.scraped(&id(2), last.clone());
        state.scraped(&id(3), last.clone());
        let seen = state.targets();
        assert_eq!(seen, [target("a"), TargetState { last: Some(last), ..target("b") }]);
        state.end(&id(1));
        assert_eq!(state.targets().len(), 1);
    }
}
