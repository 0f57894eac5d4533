//! From a page to samples: labels merged and relabelled, limits kept, and a marker for every series that is gone. Pure.
//!
//! What a series' text becomes is remembered from scrape to scrape, so that rules run once for each series and not for
//! each sample.

use std::collections::{BTreeMap, HashMap};

use watchkeep_series::{Labels, METRIC_NAME, Sample};

use super::{config::Limits, fetch::Body};
use crate::{
    exposition::{Line, Page},
    keeper::Samples,
    relabel::Relabeling,
};

/// The NaN that says: this series has ended here (Prometheus, `model/value`).
pub(crate) const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

/// How pages are read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules<'a> {
    /// The target's labels.
    pub(crate) labels: &'a BTreeMap<String, String>,
    pub(crate) relabel: &'a Relabeling,
    pub(crate) limits: Limits,
    pub(crate) honor_labels: bool,
    pub(crate) honor_timestamps: bool,
}

/// What a page gave.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Taken {
    /// The samples, then markers of series that are gone; none when the page was refused.
    pub(crate) samples: Samples,
    /// Samples on the page.
    pub(crate) scraped: usize,
    /// Samples after relabelling.
    pub(crate) kept: usize,
    /// Series that the page before did not have.
    pub(crate) added: usize,
}

/// Reads the pages of one target, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    known: HashMap<Box<[u8]>, Known>,
    /// Number of the page that is being read.
    page: u64,
}

#[derive(Debug)]
struct Known {
    /// None: a rule drops it.
    labels: Option<Labels>,
    /// The last page that had it.
    page: u64,
    /// Whether the page gives its times: such a series does not end by being left out.
    timed: bool,
    /// Whether a sample of it was taken that no marker has followed.
    open: bool,
}

impl Reader {
    /// The samples of the page that was fetched at `at_ms`. After an error call [`Self::stale`]: nothing of the
    /// page is taken.
    pub(crate) fn read(
        &mut self,
        body: &Body,
        rules: &Rules<'_>,
        at_ms: i64,
    ) -> (Taken, Result<(), String>) {
        self.page += 1;
        let mut taken = Taken::default();
        for line in Page::new(&body.bytes, body.format) {
            let result = line
                .map_err(|e| e.to_string())
                .and_then(|line| self.take(&line, rules, at_ms, &mut taken));
            if let Err(error) = result {
                taken.samples.clear();
                return (taken, Err(error));
            }
        }
        let limit = rules.limits.samples;
        if limit > 0 && taken.kept > limit {
            taken.samples.clear();
            let error = format!("{} samples, sample_limit is {limit}", taken.kept);
            return (taken, Err(error));
        }
        let page = self.page;
        self.known.retain(|_, known| {
            let is_here = known.page == page;
            if let Some(labels) = known.labels.as_ref().filter(|_| known.open && !is_here) {
                taken.samples.push((labels.clone(), sample(at_ms, STALE)));
            }
            known.open = !known.timed;
            is_here
        });
        (taken, Ok(()))
    }

    /// Markers for all series that are open, which are forgotten: the target failed, or is gone.
    pub(crate) fn stale(&mut self, at_ms: i64) -> Samples {
        let open = self.known.drain().filter(|(_, known)| known.open);
        open.filter_map(|(_, known)| Some((known.labels?, sample(at_ms, STALE)))).collect()
    }

    fn take(
        &mut self,
        line: &Line<'_>,
        rules: &Rules<'_>,
        at_ms: i64,
        taken: &mut Taken,
    ) -> Result<(), String> {
        taken.scraped += 1;
        if !self.known.contains_key(line.raw) {
            let labels = labels(line, rules)?;
            taken.added += usize::from(labels.is_some());
            let known = Known { labels, page: 0, timed: false, open: false };
            self.known.insert(line.raw.into(), known);
        }
        // Just inserted, if it was not there.
        let Some(known) = self.known.get_mut(line.raw) else { return Ok(()) };
        known.page = self.page;
        let Some(labels) = &known.labels else { return Ok(()) };
        let given = line.timestamp_ms.filter(|_| rules.honor_timestamps);
        known.timed = given.is_some();
        taken.kept += 1;
        let timestamp_ms = given.unwrap_or(at_ms);
        taken.samples.push((labels.clone(), sample(timestamp_ms, line.value)));
        Ok(())
    }
}

fn sample(timestamp_ms: i64, value: f64) -> Sample {
    Sample { timestamp_ms, value }
}

/// The labels of a series; none when a rule drops it.
fn labels(line: &Line<'_>, rules: &Rules<'_>) -> Result<Option<Labels>, String> {
    let mut labels: BTreeMap<String, String> =
        line.labels.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
    labels.insert(METRIC_NAME.to_owned(), line.name.to_string());
    merge(&mut labels, rules);
    labels.retain(|_, value| !value.is_empty());
    if !rules.relabel.apply_to(&mut labels) {
        return Ok(None);
    }
    if !labels.contains_key(METRIC_NAME) {
        return Err(format!("series {:?} has no name after metric_relabel_configs", line.name));
    }
    within(&labels, rules.limits).map_err(|e| format!("series {:?}: {e}", line.name))?;
    Ok(Some(Labels::new(labels)))
}

/// Adds the target's labels. Where both have one, the page's is renamed `exported_…`, or wins if it is honoured.
fn merge(labels: &mut BTreeMap<String, String>, rules: &Rules<'_>) {
    let mut renamed = Vec::new();
    for (name, value) in rules.labels {
        if rules.honor_labels && labels.contains_key(name) {
            continue;
        }
        if let Some(theirs) = labels.insert(name.clone(), value.clone()) {
            renamed.push((name, theirs));
        }
    }
    for (name, theirs) in renamed.into_iter().filter(|(_, theirs)| !theirs.is_empty()) {
        let mut exported = format!("exported_{name}");
        while labels.contains_key(&exported) {
            exported = format!("exported_{exported}");
        }
        labels.insert(exported, theirs);
    }
}

fn within(labels: &BTreeMap<String, String>, limits: Limits) -> Result<(), String> {
    let over = |limit: usize, is: usize| limit > 0 && is > limit;
    if over(limits.labels, labels.len()) {
        return Err(format!("{} labels, label_limit is {}", labels.len(), limits.labels));
    }
    for (name, value) in labels {
        if over(limits.name_bytes, name.len()) {
            let limit = limits.name_bytes;
            return Err(format!("label {name:?} is longer than label_name_length_limit, {limit}"));
        }
        if over(limits.value_bytes, value.len()) {
            let limit = limits.value_bytes;
            return Err(format!(
                "the value of label {name:?} is longer than label_value_length_limit, {limit}"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exposition::Format;

    /// Reads pages, one after the other, at 1, 2, 3 …
    struct Case {
        reader: Reader,
        labels: BTreeMap<String, String>,
        relabel: Relabeling,
        limits: Limits,
        honor_labels: bool,
        at_ms: i64,
    }

    impl Case {
        fn new() -> Self {
            let labels = [("job", "j"), ("instance", "i")];
            Self {
                reader: Reader::default(),
                labels: labels.map(|(n, v)| (n.to_owned(), v.to_owned())).into(),
                relabel: Relabeling::default(),
                limits: Limits::default(),
                honor_labels: false,
                at_ms: 0,
            }
        }

        fn read(&mut self, page: &str) -> String {
            self.at_ms += 1;
            let body = Body { format: Format::Text, bytes: page.as_bytes().to_vec() };
            let rules = Rules {
                labels: &self.labels,
                relabel: &self.relabel,
                limits: self.limits,
                honor_labels: self.honor_labels,
                honor_timestamps: true,
            };
            let (taken, result) = self.reader.read(&body, &rules, self.at_ms);
            match result {
                Ok(()) => format!(
                    "{} [{} {} {}]",
                    text(&taken.samples),
                    taken.scraped,
                    taken.kept,
                    taken.added
                ),
                Err(error) => {
                    assert_eq!(taken.samples, []);
                    format!("{error} / {}", text(&self.reader.stale(self.at_ms)))
                }
            }
        }
    }

    fn text(samples: &Samples) -> String {
        let own = r#"instance="i",job="j""#;
        let one = |(labels, sample): &(Labels, Sample)| {
            let labels = labels.to_string().replace(own, "@");
            let stale = sample.value.to_bits() == STALE.to_bits();
            let value = if stale { "stale".to_owned() } else { sample.value.to_string() };
            format!("{labels} {value} {}", sample.timestamp_ms)
        };
        samples.iter().map(one).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn series_begin_and_end() {
        let mut case = Case::new();
        for (page, expected) in [
            ("a 1\nb 2", "a{@} 1 1; b{@} 2 1 [2 2 2]"),
            ("a 1\n", "a{@} 1 2; b{@} stale 2 [1 1 0]"),
            ("a 1\n", "a{@} 1 3 [1 1 0]"),
            ("a 1\nb", "line 2: expected a value after \"b\", the page ends / a{@} stale 4"),
            ("nonsense", "line 1: expected a value after \"nonsense\", the page ends / "),
            ("a 1\n", "a{@} 1 6 [1 1 1]"),
            // Times of the page's own: such a series does not end.
            ("a 1\nt 5 77\n", "a{@} 1 7; t{@} 5 77 [2 2 1]"),
            ("a 1\n", "a{@} 1 8 [1 1 0]"),
            ("", "a{@} stale 9 [0 0 0]"),
        ] {
            assert_eq!(case.read(page), expected, "{page:?}");
        }
    }

    #[test]
    fn labels_of_page_and_target() {
        let page = r#"a{job="x",exported_job="y",instance=""} 1"#;
        let mut case = Case::new();
        assert_eq!(
            case.read(page),
            r#"a{exported_exported_job="x",exported_job="y",@} 1 1 [1 1 1]"#
        );
        let mut case = Case { honor_labels: true, ..Case::new() };
        assert_eq!(case.read(page), r#"a{exported_job="y",job="x"} 1 1 [1 1 1]"#);
    }

    #[test]
    fn rules_and_limits() {
        let rules = r#"[{"source_labels":["__name__"],"regex":"go_.*","action":"drop"},
                        {"regex":"pod","action":"labeldrop"}]"#;
        let relabel = Relabeling::new(&serde_json::from_str::<Vec<_>>(rules).expect("rules"));
        let relabel = relabel.expect("valid");
        let mut case = Case { relabel: relabel.clone(), ..Case::new() };
        let page = "go_gc 1\na{pod=\"x\"} 2\n";
        assert_eq!(case.read(page), "a{@} 2 1 [2 1 1]");
        assert_eq!(case.read(page), "a{@} 2 2 [2 1 0]");
        for (limits, page, expected) in [
            (Limits { samples: 1, ..Limits::default() }, "go_x 1\na 1", "a{@} 1 1 [2 1 1]"),
            (
                Limits { samples: 1, ..Limits::default() },
                "a 1\nb 1",
                "2 samples, sample_limit is 1 / ",
            ),
            (Limits { labels: 3, ..Limits::default() }, "a{pod=\"x\"} 1", "a{@} 1 1 [1 1 1]"),
            (
                Limits { labels: 3, ..Limits::default() },
                "a{x=\"x\"} 1",
                "series \"a\": 4 labels, label_limit is 3 / ",
            ),
            (
                Limits { name_bytes: 8, ..Limits::default() },
                "a{x23456789=\"x\"} 1",
                "series \"a\": label \"x23456789\" is longer than label_name_length_limit, 8 / ",
            ),
            (
                Limits { value_bytes: 2, ..Limits::default() },
                "a{x=\"abc\"} 1",
                "series \"a\": the value of label \"x\" is longer than label_value_length_limit, 2 / ",
            ),
        ] {
            let mut case = Case { relabel: relabel.clone(), limits, ..Case::new() };
            // Names like __name__ count, too.
            assert_eq!(case.read(page), expected);
        }
        let nameless = r#"[{"target_label":"__name__","replacement":""}]"#;
        let relabel = Relabeling::new(&serde_json::from_str::<Vec<_>>(nameless).expect("rules"));
        let mut case = Case { relabel: relabel.expect("valid"), ..Case::new() };
        assert!(case.read("a 1").starts_with("series \"a\" has no name after"));
    }
}
