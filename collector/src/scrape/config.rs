//! `collector.scrape_configs`: which instances' metrics are fetched, and how. Names are Prometheus's wherever it has the
//! same thing.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};
use watchkeep_catalog::{
    Instance, Scheme, Scrape, TlsSettings,
    access::{Authorization, BasicAuth, Credentials, Wrong},
};

use super::fetch::{CONNECTIONS_IDLE_MAX, Fetcher};
use crate::{
    access,
    probe::Policy,
    relabel::{RelabelConfig, Relabeling},
};

/// Largest page, unless told otherwise.
const BODY_BYTES: usize = 64 << 20;
/// Largest page that may be configured.
const BODY_BYTES_MAX: usize = 1 << 30;

/// One way to fetch metrics. Every instance that `services` and `tags` select is a target, unless `relabel_configs` drops it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScrapeConfig {
    /// Value of label `job`; unique.
    pub job_name: String,
    /// Regular expressions, one of which must match the whole name of the service; empty: every service.
    pub services: Vec<String>,
    /// Tags that an instance must have, all of them.
    pub tags: Vec<String>,
    /// Plain or TLS.
    pub scheme: Scheme,
    /// Path.
    pub metrics_path: String,
    /// Query: names and values.
    pub params: BTreeMap<String, Vec<String>>,
    /// Port; none: the instance's own.
    pub port: Option<u16>,
    /// From the start of one scrape to the start of the next.
    pub interval_ms: u64,
    /// A page that comes later is not taken.
    pub timeout_ms: u64,
    /// Whether labels of the page win over those of the target.
    pub honor_labels: bool,
    /// Whether times on the page are taken.
    pub honor_timestamps: bool,
    /// Most samples of a page after relabelling; 0: any.
    pub sample_limit: usize,
    /// Most labels of a sample; 0: any.
    pub label_limit: usize,
    /// Longest name of a label, in bytes; 0: any.
    pub label_name_length_limit: usize,
    /// Longest value of a label, in bytes; 0: any.
    pub label_value_length_limit: usize,
    /// Largest page, decompressed.
    pub body_size_limit_bytes: usize,
    /// Who asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,
    /// Who asks, by a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization: Option<Authorization>,
    /// TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_config: Option<TlsSettings>,
    /// Change, keep or drop targets.
    pub relabel_configs: Vec<RelabelConfig>,
    /// Change, keep or drop samples.
    pub metric_relabel_configs: Vec<RelabelConfig>,
}

impl Default for ScrapeConfig {
    fn default() -> Self {
        let usual = Scrape::default();
        Self {
            job_name: String::new(),
            services: Vec::new(),
            tags: Vec::new(),
            scheme: usual.scheme,
            metrics_path: usual.path,
            params: BTreeMap::new(),
            port: None,
            interval_ms: usual.interval_ms,
            timeout_ms: usual.timeout_ms,
            honor_labels: false,
            honor_timestamps: true,
            sample_limit: 0,
            label_limit: 0,
            label_name_length_limit: 0,
            label_value_length_limit: 0,
            body_size_limit_bytes: BODY_BYTES,
            basic_auth: None,
            authorization: None,
            tls_config: None,
            relabel_configs: Vec::new(),
            metric_relabel_configs: Vec::new(),
        }
    }
}

/// What a page may hold. 0: any number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) samples: usize,
    pub(crate) labels: usize,
    pub(crate) name_bytes: usize,
    pub(crate) value_bytes: usize,
}

/// A configuration made ready.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) config: ScrapeConfig,
    services: Vec<Regex>,
    pub(crate) relabel: Relabeling,
    pub(crate) metric_relabel: Relabeling,
    pub(crate) fetcher: Fetcher,
    /// Whether instances ask for it themselves, by their `scrape`.
    own: bool,
}

impl Job {
    /// Makes a configuration ready: patterns are compiled, files read.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub(crate) fn new(config: &ScrapeConfig, policy: &Arc<Policy>) -> Result<Self, Wrong> {
        let named = |list: &str, (at, field, message): (usize, &str, String)| {
            (format!("{list}[{at}].{field}"), message)
        };
        config.ranges()?;
        let services = config.services.iter().enumerate().map(|(at, pattern)| {
            let regex = RegexBuilder::new(&format!("^(?s:{pattern})$")).size_limit(1 << 20).build();
            regex.map_err(|e| (format!("services[{at}]"), format!("{pattern:?}: {e}")))
        });
        let credentials =
            Credentials::new(config.basic_auth.as_ref(), config.authorization.as_ref())?;
        let tls = access::tls(config.tls_config.as_ref())?;
        Ok(Self {
            services: services.collect::<Result<_, _>>()?,
            relabel: Relabeling::new(&config.relabel_configs)
                .map_err(|e| named("relabel_configs", e))?,
            metric_relabel: Relabeling::new(&config.metric_relabel_configs)
                .map_err(|e| named("metric_relabel_configs", e))?,
            fetcher: Fetcher::new(tls, credentials, config.body_size_limit_bytes, policy.clone())
                .map_err(|e| ("tls_config".to_owned(), e.to_string()))?,
            config: config.clone(),
            own: false,
        })
    }

    /// The job of all instances that ask for it themselves.
    pub(crate) fn own(policy: &Arc<Policy>) -> Result<Self, Wrong> {
        let config = ScrapeConfig { job_name: "-".to_owned(), ..ScrapeConfig::default() };
        Ok(Self { own: true, ..Self::new(&config, policy)? })
    }

    /// How an instance's metrics are fetched, and as which job; none when they are not.
    pub(crate) fn scrape<'a>(&'a self, instance: &'a Instance) -> Option<(&'a str, Scrape)> {
        if self.own {
            return Some((&instance.service, instance.scrape.clone()?));
        }
        let config = &self.config;
        let service = self.services.is_empty()
            || self.services.iter().any(|regex| regex.is_match(&instance.service));
        let meant = service && config.tags.iter().all(|tag| instance.tags.contains(tag));
        let scrape = Scrape {
            scheme: config.scheme,
            path: config.metrics_path.clone(),
            port: config.port,
            interval_ms: config.interval_ms,
            timeout_ms: config.timeout_ms,
        };
        meant.then_some((&*config.job_name, scrape))
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits {
            samples: self.config.sample_limit,
            labels: self.config.label_limit,
            name_bytes: self.config.label_name_length_limit,
            value_bytes: self.config.label_value_length_limit,
        }
    }

    /// How long a connection that is not used is kept.
    pub(crate) const IDLE: Duration = Duration::from_secs(120);
    /// Connections to one target that are kept.
    pub(crate) const IDLE_MAX: usize = CONNECTIONS_IDLE_MAX;
}

impl ScrapeConfig {
    fn ranges(&self) -> Result<(), Wrong> {
        let refuse = |field: &str, message: String| Err((field.to_owned(), message));
        if self.job_name.is_empty() {
            return refuse("job_name", "is missing: give the value of label job".to_owned());
        }
        let scrape = Scrape {
            scheme: self.scheme,
            path: self.metrics_path.clone(),
            port: self.port,
            interval_ms: self.interval_ms,
            timeout_ms: self.timeout_ms,
        };
        if let Err(error) = scrape.validate() {
            let text = error.to_string();
            let (field, message) = text.split_once(' ').unwrap_or(("", &text));
            let field = field.trim_start_matches("scrape.");
            return refuse(
                if field == "path" { "metrics_path" } else { field },
                message.to_owned(),
            );
        }
        if !(1..=BODY_BYTES_MAX).contains(&self.body_size_limit_bytes) {
            let given = self.body_size_limit_bytes;
            return refuse(
                "body_size_limit_bytes",
                format!("is {given}: give 1 to {BODY_BYTES_MAX}"),
            );
        }
        Ok(())
    }
}

/// Everything that is wrong with a list of configurations.
pub(crate) fn validate(configs: &[ScrapeConfig]) -> Vec<Wrong> {
    let (mut wrong, policy) = (Vec::new(), Arc::default());
    for (at, config) in configs.iter().enumerate() {
        if let Err((field, message)) = Job::new(config, &policy) {
            wrong.push((format!("scrape_configs[{at}].{field}"), message));
        } else if configs[..at].iter().any(|other| other.job_name == config.job_name) {
            let message = format!("{:?} is taken: give each its own", config.job_name);
            wrong.push((format!("scrape_configs[{at}].job_name"), message));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: &str) -> ScrapeConfig {
        serde_json::from_str(json).expect(json)
    }

    #[test]
    fn instances_are_selected() {
        let instance = |service: &str, more: &str| -> Instance {
            let text = format!(
                r#"{{"service":"{service}","id":"i","address":"h","port":1,"tags":["m","n"]{more}}}"#
            );
            serde_json::from_str(&text).expect("an instance")
        };
        for (text, service, meant) in [
            (r#"{"job_name":"j"}"#, "web", true),
            (r#"{"job_name":"j","services":["we","web"]}"#, "web", true),
            (r#"{"job_name":"j","services":["we"]}"#, "web", false),
            (r#"{"job_name":"j","services":["w.*"],"tags":["n","m"]}"#, "web", true),
            (r#"{"job_name":"j","tags":["x"]}"#, "web", false),
        ] {
            let job = Job::new(&config(text), &Arc::default()).expect(text);
            assert_eq!(job.scrape(&instance(service, "")).is_some(), meant, "{text}");
        }
        let own = Job::own(&Arc::default()).expect("valid");
        assert_eq!(own.scrape(&instance("web", "")), None);
        let scraped = instance("web", r#","scrape":{"path":"/m","port":9}"#);
        let (job, scrape) = own.scrape(&scraped).expect("asks for it");
        assert_eq!((job, &*scrape.path, scrape.port), ("web", "/m", Some(9)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let configs = [
            r#"{"job_name":"a"}"#,
            r#"{"job_name":"a"}"#,
            r#"{}"#,
            r#"{"job_name":"b","metrics_path":"x"}"#,
            r#"{"job_name":"c","interval_ms":5000}"#,
            r#"{"job_name":"d","services":["("]}"#,
            r#"{"job_name":"e","relabel_configs":[{"target_label":"x"},{"action":"hashmod"}]}"#,
            r#"{"job_name":"f","metric_relabel_configs":[{"regex":"("}]}"#,
            r#"{"job_name":"g","body_size_limit_bytes":0}"#,
        ];
        let wrong = validate(&configs.map(config));
        let text: Vec<_> = wrong.iter().map(|(f, m)| format!("{f}: {m}")).collect();
        let begins = [
            "scrape_configs[1].job_name: \"a\" is taken: give each its own",
            "scrape_configs[2].job_name: is missing",
            "scrape_configs[3].metrics_path: is \"x\": begin it with /",
            "scrape_configs[4].timeout_ms: is 10000: give 1 to 5000, the interval",
            "scrape_configs[5].services[0]: \"(\": regex parse error",
            "scrape_configs[6].relabel_configs[1].modulus: action hashmod needs one",
            "scrape_configs[7].metric_relabel_configs[0].regex: unclosed group",
            "scrape_configs[8].body_size_limit_bytes: is 0: give 1 to 1073741824",
        ];
        assert_eq!(text.len(), begins.len(), "{text:#?}");
        for (text, begin) in text.iter().zip(begins) {
            assert!(text.starts_with(begin), "{text}");
        }
    }
}
