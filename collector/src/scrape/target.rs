//! From an instance and a job to what is fetched and how it is labelled. Pure.
//!
//! ```text
//! instance ─▶ __address__, __scheme__, …, __meta_watchkeep_*, job, service, instance ─relabel─▶ URL, labels
//! ```

use std::{collections::BTreeMap, net::Ipv6Addr, time::Duration};

use url::Url;
use watchkeep_catalog::{Instance, Scheme, Scrape};

use super::{config::Job, state::TargetState};
use crate::schedule::{self, Schedule};

/// A page to fetch again and again: when none of this differs, nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) url: String,
    /// Added to every sample; sorted by name.
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
}

impl Target {
    /// As it is shown, before its first scrape. The query may hold secrets: it is left out.
    pub(super) fn state(&self, name: &str) -> TargetState {
        TargetState {
            job: self.labels.get("job").map_or(name, String::as_str).to_owned(),
            url: self.url.split('?').next().unwrap_or_default().to_owned(),
            labels: self.labels.clone(),
            interval: self.interval,
            timeout: self.timeout,
            last: None,
        }
    }

    /// What `job` makes of an instance; none when it is not meant, or dropped by a rule.
    ///
    /// # Errors
    /// In words, when the rules make something that cannot be fetched.
    pub(crate) fn of(job: &Job, instance: &Instance) -> Result<Option<Self>, String> {
        let Some((name, scrape)) = job.scrape(instance) else { return Ok(None) };
        let mut labels = found(name, &scrape, job, instance);
        if !job.relabel.apply_to(&mut labels) {
            return Ok(None);
        }
        let get = |name: &str| labels.get(name).map_or("", String::as_str);
        let interval = duration("__scrape_interval__", get("__scrape_interval__"))?;
        let timeout = duration("__scrape_timeout__", get("__scrape_timeout__"))?;
        if timeout > interval {
            return Err(format!(
                "__scrape_timeout__ {timeout:?} is longer than __scrape_interval__ {interval:?}"
            ));
        }
        let url = url(&labels, &job.config.params)?;
        let address = get("__address__").to_owned();
        labels.entry("instance".to_owned()).or_insert(address);
        labels.retain(|name, _| !name.starts_with("__"));
        Ok(Some(Self { url, labels, interval, timeout }))
    }

    /// When it is fetched.
    pub(crate) fn schedule(&self) -> Schedule {
        let labels = self.labels.iter().flat_map(|(name, value)| [&**name, &**value]);
        Schedule::new(self.interval, schedule::hash(labels.chain([&*self.url])))
    }
}

/// The labels before relabelling.
fn found(name: &str, scrape: &Scrape, job: &Job, instance: &Instance) -> BTreeMap<String, String> {
    let port = scrape.port.unwrap_or(instance.port);
    let address = match instance.address.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]:{port}"),
        Err(_) => format!("{}:{port}", instance.address),
    };
    let scheme = match scrape.scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
    };
    let tags = if instance.tags.is_empty() {
        String::new()
    } else {
        format!(",{},", instance.tags.join(","))
    };
    let fixed = [
        ("job", name.to_owned()),
        ("service", instance.service.clone()),
        ("instance", instance.id.clone()),
        ("__address__", address),
        ("__scheme__", scheme.to_owned()),
        ("__metrics_path__", scrape.path.clone()),
        ("__scrape_interval__", format!("{}ms", scrape.interval_ms)),
        ("__scrape_timeout__", format!("{}ms", scrape.timeout_ms)),
        ("__meta_watchkeep_service", instance.service.clone()),
        ("__meta_watchkeep_instance", instance.id.clone()),
        ("__meta_watchkeep_address", instance.address.clone()),
        ("__meta_watchkeep_port", instance.port.to_string()),
        ("__meta_watchkeep_zone", instance.zone.clone()),
        ("__meta_watchkeep_role", instance.role.clone()),
        ("__meta_watchkeep_weight", instance.weight.to_string()),
        ("__meta_watchkeep_tags", tags),
    ];
    let metadata = instance.metadata.iter().map(|(name, value)| {
        let name = name.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        (format!("__meta_watchkeep_metadata_{name}"), value.clone())
    });
    let params =
        job.config.params.iter().filter_map(|(name, values)| {
            Some((format!("__param_{name}"), values.first()?.clone()))
        });
    let fixed = fixed.into_iter().map(|(name, value)| (name.to_owned(), value));
    let all = metadata.chain(params).chain(fixed);
    all.filter(|(_, value)| !value.is_empty()).collect()
}

/// The first value of each parameter is a label; further ones are as configured.
fn url(
    labels: &BTreeMap<String, String>,
    params: &BTreeMap<String, Vec<String>>,
) -> Result<String, String> {
    let get = |name: &str| labels.get(name).map_or("", String::as_str);
    let (scheme, address, path) = (get("__scheme__"), get("__address__"), get("__metrics_path__"));
    if !matches!(scheme, "http" | "https") {
        return Err(format!("__scheme__ is {scheme:?}: it has to be http or https"));
    }
    if address.is_empty() || address.contains(['/', ' ', '@', '?', '#']) {
        return Err(format!("__address__ is {address:?}: it has to be host:port"));
    }
    if !path.starts_with('/') {
        return Err(format!("__metrics_path__ is {path:?}: it has to begin with /"));
    }
    let text = format!("{scheme}://{address}{path}");
    let mut url = Url::parse(&text).map_err(|e| format!("{text:?}: {e}"))?;
    let params: Vec<_> = labels
        .iter()
        .filter_map(|(name, value)| Some((name.strip_prefix("__param_")?, value)))
        .flat_map(|(name, first)| {
            let more = params.get(name).map_or(&[][..], |values| values.get(1..).unwrap_or(&[]));
            std::iter::once(first).chain(more).map(move |value| (name, value))
        })
        .collect();
    if !params.is_empty() {
        url.query_pairs_mut().extend_pairs(params);
    }
    Ok(url.into())
}

/// Prometheus's durations: `1m30s`, `500ms`. Not 0.
fn duration(name: &str, text: &str) -> Result<Duration, String> {
    const UNITS: [(&str, u64); 7] = [
        ("ms", 1),
        ("s", 1_000),
        ("m", 60_000),
        ("h", 3_600_000),
        ("d", 86_400_000),
        ("w", 604_800_000),
        ("y", 31_536_000_000),
    ];
    let read = || {
        let (mut rest, mut total) = (text, 0_u64);
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit())?;
            let (number, unit) = rest.split_at(digits);
            let end = unit.find(|c: char| c.is_ascii_digit()).unwrap_or(unit.len());
            let (_, ms) = UNITS.iter().find(|(known, _)| *known == &unit[..end])?;
            total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(*ms)?)?;
            rest = &unit[end..];
        }
        (total > 0).then_some(Duration::from_millis(total))
    };
    read().ok_or_else(|| format!("{name} is {text:?}: write it as 15s or 500ms"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(config: &str) -> Result<Option<Target>, String> {
        let instance = r#"{"service":"web","id":"w1","address":"::1","port":80,"zone":"z","tags":["a","b"],
                           "metadata":{"build.id":"7"}}"#;
        let config = serde_json::from_str(config).expect(config);
        let job = Job::new(&config, &std::sync::Arc::default()).expect("valid");
        Target::of(&job, &serde_json::from_str(instance).expect("an instance"))
    }

    fn text(target: &Target) -> String {
        let labels: Vec<_> = target.labels.iter().map(|(n, v)| format!("{n}={v}")).collect();
        format!("{} {} {:?}/{:?}", target.url, labels.join(","), target.interval, target.timeout)
    }

    #[test]
    fn table() {
        for (config, expected) in [
            (r#"{"job_name":"j"}"#, "http://[::1]/metrics instance=w1,job=j,service=web 15s/10s"),
            (
                r#"{"job_name":"j","scheme":"https","port":9,"metrics_path":"/m","interval_ms":1500,"timeout_ms":1000,
                    "params":{"x":["1 2","3"]}}"#,
                "https://[::1]:9/m?x=1+2&x=3 instance=w1,job=j,service=web 1.5s/1s",
            ),
            (
                r#"{"job_name":"j","relabel_configs":[
                    {"regex":"__meta_watchkeep_metadata_(.+)","action":"labelmap"},
                    {"source_labels":["__meta_watchkeep_tags"],"regex":".*,b,.*","replacement":"yes","target_label":"b"},
                    {"regex":"instance","action":"labeldrop"},
                    {"source_labels":["__meta_watchkeep_zone"],"target_label":"__param_zone"},
                    {"replacement":"1m","target_label":"__scrape_interval__"},
                    {"replacement":"10.0.0.1:81","target_label":"__address__"}]}"#,
                "http://10.0.0.1:81/metrics?zone=z b=yes,build_id=7,instance=10.0.0.1:81,job=j,service=web 60s/10s",
            ),
        ] {
            let target = target(config).expect(config).expect(config);
            assert_eq!(text(&target), expected);
        }
        let dropped = r#"{"job_name":"j","relabel_configs":[{"source_labels":["service"],"regex":"web","action":"drop"}]}"#;
        assert_eq!(target(dropped), Ok(None));
    }

    #[test]
    fn what_cannot_be_fetched_is_said() {
        for (label, value, words) in [
            ("__address__", "", "__address__ is \"\""),
            ("__address__", "u:p@h:1", "__address__ is \"u:p@h:1\""),
            ("__scheme__", "ftp", "it has to be http or https"),
            ("__metrics_path__", "m", "it has to begin with /"),
            ("__scrape_interval__", "5", "write it as 15s or 500ms"),
            ("__scrape_interval__", "0s", "write it as 15s or 500ms"),
            ("__scrape_interval__", "9s", "10s is longer than __scrape_interval__ 9s"),
        ] {
            let config = format!(
                r#"{{"job_name":"j","relabel_configs":[{{"target_label":"{label}","replacement":"{value}"}}]}}"#
            );
            let error = target(&config).expect_err(&config);
            assert!(error.contains(words), "{error}");
        }
        assert_eq!(duration("x", "1h1m1s1ms"), Ok(Duration::from_millis(3_661_001)));
    }
}
