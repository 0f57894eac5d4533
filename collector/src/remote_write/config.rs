//! `collector.remote_write`: who else receives what this collector measures. Names are Prometheus's wherever it has the
//! same thing.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use url::Url;
use watchkeep_catalog::{
    TlsSettings,
    access::{Authorization, BasicAuth, Credentials, Wrong},
    check_name,
};

use crate::{
    access::{self, HttpClient},
    relabel::{RelabelConfig, Relabeling},
};

/// Headers that are the protocol's own.
const OWN_HEADERS: [&str; 6] = [
    "authorization",
    "content-encoding",
    "content-type",
    "content-length",
    "host",
    "x-prometheus-remote-write-version",
];

/// One receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RemoteWriteConfig {
    /// Value of label `receiver`, and name of its queue on disk; unique.
    pub name: String,
    /// Where samples are posted.
    pub url: String,
    /// An answer that comes later is none.
    pub timeout_ms: u64,
    /// Sent with every request.
    pub headers: BTreeMap<String, String>,
    /// Who sends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,
    /// Who sends, by a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization: Option<Authorization>,
    /// TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_config: Option<TlsSettings>,
    /// Whether native histograms, which rules record, are sent, too.
    pub send_native_histograms: bool,
    /// Change, keep or drop samples.
    pub write_relabel_configs: Vec<RelabelConfig>,
    /// What waits, and how it is sent.
    pub queue: QueueConfig,
}

/// A queue on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueueConfig {
    /// Samples in memory on their way to the disk.
    pub capacity: usize,
    /// Bytes on disk; beyond it the oldest go.
    pub bytes_max: u64,
    /// Requests under way at once; samples of one series are in one shard.
    pub max_shards: u16,
    /// Samples of one request.
    pub max_samples_per_send: usize,
    /// How long a sample waits for others to share its request.
    pub batch_send_deadline_ms: u64,
    /// First pause after a failure; it doubles.
    pub min_backoff_ms: u64,
    /// Longest pause.
    pub max_backoff_ms: u64,
}

impl Default for RemoteWriteConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            url: String::new(),
            timeout_ms: 30_000,
            headers: BTreeMap::new(),
            basic_auth: None,
            authorization: None,
            tls_config: None,
            send_native_histograms: false,
            write_relabel_configs: Vec::new(),
            queue: QueueConfig::default(),
        }
    }
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            capacity: 100_000,
            bytes_max: 1 << 30,
            max_shards: 4,
            max_samples_per_send: 2_000,
            batch_send_deadline_ms: 1_000,
            min_backoff_ms: 100,
            max_backoff_ms: 10_000,
        }
    }
}

impl QueueConfig {
    pub(super) fn batch_wait(&self) -> Duration {
        Duration::from_millis(self.batch_send_deadline_ms)
    }

    fn ranges(&self) -> Result<(), Wrong> {
        let wide = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        for (field, value, min, max) in [
            ("capacity", wide(self.capacity), 1_000, 10_000_000),
            ("bytes_max", self.bytes_max, 16 << 20, 1 << 50),
            ("max_shards", u64::from(self.max_shards), 1, 200),
            ("max_samples_per_send", wide(self.max_samples_per_send), 1, 100_000),
            ("batch_send_deadline_ms", self.batch_send_deadline_ms, 1, 60_000),
            ("min_backoff_ms", self.min_backoff_ms, 1, 600_000),
            ("max_backoff_ms", self.max_backoff_ms, self.min_backoff_ms, 600_000),
        ] {
            if !(min..=max).contains(&value) {
                return Err((format!("queue.{field}"), format!("is {value}: give {min} to {max}")));
            }
        }
        Ok(())
    }
}

/// A receiver made ready.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) client: Arc<HttpClient>,
    pub(super) headers: HeaderMap,
    pub(super) credentials: Arc<Credentials>,
    pub(super) relabel: Relabeling,
    /// Whether it is sent native histograms.
    pub(super) histograms: bool,
    /// Whether it is a node, whose web configuration may for a while be another than ours.
    pub(super) is_node: bool,
}

impl RemoteWriteConfig {
    /// Makes it ready: rules are compiled, files read.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub(super) fn way(&self) -> Result<Way, Wrong> {
        let refuse = |field: &str, message: String| Err((field.to_owned(), message));
        if let Err(error) = check_name("receiver", &self.name) {
            return refuse("name", error.to_string());
        }
        match Url::parse(&self.url) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.host().is_some() => {
                if !url.username().is_empty() || url.password().is_some() {
                    return refuse("url", "it holds a user: give basic_auth instead".to_owned());
                }
            }
            _ => {
                let example = "http://host:9090/api/v1/write";
                return refuse("url", format!("{:?} is not one; write {example}", self.url));
            }
        }
        if !(1..=600_000).contains(&self.timeout_ms) {
            return refuse("timeout_ms", format!("is {}: give 1 to 600000", self.timeout_ms));
        }
        self.queue.ranges()?;
        let relabel = Relabeling::new(&self.write_relabel_configs)
            .map_err(|(at, field, m)| (format!("write_relabel_configs[{at}].{field}"), m))?;
        let tls = access::tls(self.tls_config.as_ref())?;
        let timeout = Duration::from_millis(self.timeout_ms);
        let build = move |tls| {
            reqwest::Client::builder()
                .tls_backend_preconfigured(tls)
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
                .timeout(timeout)
                .build()
        };
        let client = HttpClient::new(tls, build);
        let client = Arc::new(client.map_err(|e| ("tls_config".to_owned(), e.to_string()))?);
        let credentials = Credentials::new(self.basic_auth.as_ref(), self.authorization.as_ref())?;
        let credentials = Arc::new(credentials);
        let (headers, histograms) = (self.all_headers()?, self.send_native_histograms);
        Ok(Way { client, headers, credentials, relabel, histograms, is_node: false })
    }

    fn all_headers(&self) -> Result<HeaderMap, Wrong> {
        let mut all = HeaderMap::new();
        for (name, value) in &self.headers {
            let wrong = |what: &str| (format!("headers.{name}"), what.to_owned());
            let known: HeaderName = name.parse().map_err(|_| wrong("this is no header's name"))?;
            if OWN_HEADERS.contains(&known.as_str()) {
                return Err(wrong("this header is set by the protocol, or by authorization"));
            }
            let value =
                HeaderValue::from_str(value).map_err(|_| wrong("no header may say this"))?;
            all.insert(known, value);
        }
        Ok(all)
    }
}

/// Everything that is wrong with a list of receivers.
pub(crate) fn validate(configs: &[RemoteWriteConfig]) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    for (at, config) in configs.iter().enumerate() {
        if let Err((field, message)) = config.way() {
            wrong.push((format!("remote_write[{at}].{field}"), message));
        } else if configs[..at].iter().any(|other| other.name == config.name) {
            let message = format!("{:?} is taken: give each its own", config.name);
            wrong.push((format!("remote_write[{at}].name"), message));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named() {
        let with = |more: &str| format!(r#"{{"name":"p","url":"http://h/api/v1/write"{more}}}"#);
        let configs = [
            with(""),
            with(""),
            r#"{"url":"http://h/"}"#.to_owned(),
            r#"{"name":"a","url":"h:9090"}"#.to_owned(),
            r#"{"name":"a","url":"http://u:p@h/"}"#.to_owned(),
            with(r#","queue":{"max_shards":0}"#),
            with(r#","queue":{"max_backoff_ms":50}"#),
            with(r#","write_relabel_configs":[{"action":"labelmap","regex":"("}]"#),
            with(r#","headers":{"Content-Type":"x"}"#),
            with(r#","basic_auth":{"username":"u","password_file":"/absent"}"#),
        ];
        let configs = configs.map(|text| serde_json::from_str(&text).expect("fits"));
        let text: Vec<_> =
            validate(&configs).into_iter().map(|(field, m)| format!("{field}: {m}")).collect();
        let begins = [
            "remote_write[1].name: \"p\" is taken",
            "remote_write[2].name: ",
            "remote_write[3].url: \"h:9090\" is not one",
            "remote_write[4].url: it holds a user",
            "remote_write[5].queue.max_shards: is 0: give 1 to 200",
            "remote_write[6].queue.max_backoff_ms: is 50: give 100 to 600000",
            "remote_write[7].write_relabel_configs[0].regex: unclosed group",
            "remote_write[8].headers.Content-Type: this header is set",
            "remote_write[9].basic_auth.password_file: /absent: No such file",
        ];
        assert_eq!(text.len(), begins.len(), "{text:#?}");
        for (text, begin) in text.iter().zip(begins) {
            assert!(text.starts_with(begin), "{text}");
        }
    }
}
