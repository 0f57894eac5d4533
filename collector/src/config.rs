//! The collector's settings.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{
    access::HttpClientConfig,
    foreign::{self, ForeignConfig},
    probe::{FACTS_MAX, Files, Policy},
    remote_write::{self, RemoteWriteConfig},
    scrape::{self, ScrapeConfig},
};

const HOUR_MS: i64 = 3_600_000;

/// One thing that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// Where: a field's name, relative to the room.
    pub path: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// Settings of the collector room.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CollectorConfig {
    /// How long samples are kept. 1 to 744.
    pub retention_hours: i64,
    /// Most bytes of samples on disk: beyond it the oldest two hours go first. 0: no limit but `retention_hours`.
    pub retention_bytes: u64,
    /// How much older than the newest a sample may be that comes after a later one of its series. 0 to 86400; 0: none
    /// may.
    pub out_of_order_time_window_seconds: i64,
    /// How long the opinions of a collector that fell silent still count. 2 to 60.
    pub lease_ttl_seconds: i64,
    /// Most probes at a time; further ones wait. 1 to 100000.
    pub probes_max: usize,
    /// Collectors that probe a check, each in another zone where there are so many; all, where there are fewer. 1 to 15.
    pub vantage_points: usize,
    /// Most checks with `probe_success` and `probe_duration_seconds` on /metrics; the store has those of all. 0 to 1000000.
    pub target_metrics_max: usize,
    /// Most series in the store. 1 to 100000000.
    pub series_max: usize,
    /// About how much memory the series may take: beyond it new ones are refused. 0: no limit but `series_max`.
    pub memory_bytes_max: usize,
    /// Most facts of a probe that are kept as samples, beside success and duration. 0 to 64.
    pub facts_max: usize,
    /// Where the files lie that checks may name. None: they may name none.
    pub files_dir: Option<PathBuf>,
    /// Which addresses may be probed.
    pub targets: TargetRanges,
    /// blackbox_exporter's `blackbox.yml`, for `/probe`; none: there is no `/probe`.
    pub blackbox_config: Option<PathBuf>,
    /// Whether the metrics of all nodes are fetched, as job `watchkeep`.
    pub self_scrape: bool,
    /// Between two of those. 100 to 3600000.
    pub self_scrape_interval_ms: u64,
    /// How the other nodes' HTTP listeners are reached.
    pub http_client: HttpClientConfig,
    /// Whose metrics are fetched, and how.
    pub scrape_configs: Vec<ScrapeConfig>,
    /// Prefixes whose foreign registrations are instances, too.
    pub foreign: Vec<ForeignConfig>,
    /// Who else receives what is measured.
    pub remote_write: Vec<RemoteWriteConfig>,
    /// Scripts that checks may run.
    pub scripts: ScriptsConfig,
}

/// Scripts that checks may run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScriptsConfig {
    /// The folder they lie in; none: none may be run.
    pub dir: Option<PathBuf>,
}

/// Which addresses may be probed: the longest range that holds one decides; of two alike, `deny`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TargetRanges {
    /// Also allows link-local and metadata addresses, which are denied otherwise.
    /// What begins with `/` is a directory of Unix sockets.
    pub allow: Vec<String>,
    /// Denied.
    pub deny: Vec<String>,
}

impl Default for CollectorConfig {
    fn default() -> Self {
        Self {
            retention_hours: 25,
            retention_bytes: 0,
            out_of_order_time_window_seconds: 0,
            lease_ttl_seconds: 3,
            probes_max: 1_000,
            vantage_points: 3,
            target_metrics_max: 5_000,
            series_max: 1_000_000,
            memory_bytes_max: 0,
            facts_max: FACTS_MAX,
            files_dir: None,
            targets: TargetRanges::default(),
            blackbox_config: None,
            self_scrape: true,
            self_scrape_interval_ms: 10_000,
            http_client: HttpClientConfig::default(),
            scrape_configs: Vec::new(),
            foreign: Vec::new(),
            remote_write: Vec::new(),
            scripts: ScriptsConfig::default(),
        }
    }
}

impl CollectorConfig {
    /// Checks every field.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn validate(&self) -> Result<(), Vec<Invalid>> {
        let wide = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let mut wrong: Vec<_> = [
            ("retention_hours", self.retention_hours, 1, 744),
            ("out_of_order_time_window_seconds", self.out_of_order_time_window_seconds, 0, 86_400),
            ("lease_ttl_seconds", self.lease_ttl_seconds, 2, 60),
            ("probes_max", wide(self.probes_max), 1, 100_000),
            ("vantage_points", wide(self.vantage_points), 1, 15),
            ("target_metrics_max", wide(self.target_metrics_max), 0, 1_000_000),
            ("series_max", wide(self.series_max), 1, 100_000_000),
            ("facts_max", wide(self.facts_max), 0, wide(FACTS_MAX)),
            (
                "self_scrape_interval_ms",
                i64::try_from(self.self_scrape_interval_ms).unwrap_or(i64::MAX),
                100,
                3_600_000,
            ),
        ]
        .into_iter()
        .filter(|(_, value, min, max)| !(min..=max).contains(&value))
        .map(|(path, value, min, max)| Invalid {
            path: path.to_owned(),
            message: format!("is {value}: give {min} to {max}"),
        })
        .collect();
        if let Err((path, message)) = self.policy() {
            wrong.push(Invalid { path: format!("targets.{path}"), message });
        }
        let mut more = scrape::validate(&self.scrape_configs);
        more.extend(self.http_client.validate());
        more.extend(remote_write::validate(&self.remote_write));
        more.extend(foreign::validate(&self.foreign));
        wrong.extend(more.into_iter().map(|(path, message)| Invalid { path, message }));
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    /// Which addresses may be probed, or the field that is wrong and why.
    pub(crate) fn policy(&self) -> Result<Policy, (String, String)> {
        Policy::new(&self.targets.allow, &self.targets.deny)
    }

    /// Which files checks may use.
    pub(crate) fn files(&self) -> Files {
        self.files_dir.clone().map_or(Files::None, Files::Below)
    }

    /// What the series store is opened with.
    #[must_use]
    pub fn series_options(&self) -> watchkeep_series::Options {
        watchkeep_series::Options {
            retention_ms: self.retention_hours * HOUR_MS,
            retention_bytes: match self.retention_bytes {
                0 => u64::MAX,
                bytes => bytes,
            },
            out_of_order_window_ms: self.out_of_order_time_window_seconds * 1_000,
            series_max: self.series_max,
            memory_bytes_max: match self.memory_bytes_max {
                0 => usize::MAX,
                bytes => bytes,
            },
            ..watchkeep_series::Options::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_unknown_fields_are_not() {
        let config: CollectorConfig = serde_json::from_str("{}").expect("defaults");
        assert_eq!((config.retention_hours, config.lease_ttl_seconds), (25, 3));
        assert_eq!(config.validate(), Ok(()));
        assert!(serde_json::from_str::<CollectorConfig>(r#"{"retention": 1}"#).is_err());
    }

    #[test]
    fn everything_that_is_wrong_is_named() {
        let config = CollectorConfig { retention_hours: 0, probes_max: 0, ..Default::default() };
        let wrong = config.validate().expect_err("two fields");
        let text: Vec<_> = wrong.iter().map(|w| format!("{}: {}", w.path, w.message)).collect();
        assert_eq!(
            text,
            ["retention_hours: is 0: give 1 to 744", "probes_max: is 0: give 1 to 100000"]
        );
    }
}
