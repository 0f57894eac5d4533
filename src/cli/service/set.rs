//! `watchkeep service set | forget`: a service's own record.

use anyhow::bail;
use clap::{Args, ValueEnum};
use reqwest::Method;
use serde_json::{Map, Value, json};
use watchkeep_catalog::Quorum;

use super::{super::api::Node, segment};
use crate::out;

/// What a service's record has; the rest of an answer is counted.
const FIELDS: [&str; 5] = ["description", "slo", "quorum", "panic_threshold_percent", "depends_on"];

/// Arguments of `watchkeep service set`.
#[derive(Debug, Args)]
pub(crate) struct Set {
    #[command(flatten)]
    node: Node,
    /// The service; it need not have instances yet
    service: String,
    /// What it is, for people
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Share of probes that must succeed and be in time, such as 0.999
    #[arg(long, value_name = "SHARE")]
    availability: Option<f64>,
    /// A probe that takes longer is not in time
    #[arg(long, value_name = "MS")]
    latency_ms: Option<u64>,
    /// Opinions that make a check critical: majority, any, all, or a number
    #[arg(long)]
    quorum: Option<Quorum>,
    /// When more of its instances seem critical at once, none is believed to be; 0: never
    #[arg(long, value_name = "PERCENT")]
    panic_threshold_percent: Option<u8>,
    /// What it cannot work without, all of it: SERVICE or SERVICE/INSTANCE; may be given again
    #[arg(long, value_name = "NAME")]
    depends_on: Vec<String>,
    /// Back to what the configuration says; may be given again
    #[arg(long, value_enum, value_name = "FIELD")]
    unset: Vec<Field>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Field {
    Description,
    Availability,
    LatencyMs,
    Quorum,
    PanicThresholdPercent,
    DependsOn,
}

/// Arguments of `watchkeep service forget`.
#[derive(Debug, Args)]
pub(crate) struct Forget {
    #[command(flatten)]
    node: Node,
    /// The service
    service: String,
}

impl Set {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let api = self.node.api()?;
        let path = format!("/v1/services/{}", segment(&self.service)?);
        let known: Map<String, Value> = api.find(&path).await?.unwrap_or_default();
        let Some(record) = self.record(known) else {
            bail!(
                "nothing is to be set: give --availability, --depends-on, … (watchkeep service set --help)"
            );
        };
        let done: Value = api.call(Method::PUT, &path, Some(&record)).await?;
        out::line(done);
        Ok(())
    }

    /// The record with what is said here; none where nothing is.
    fn record(&self, mut known: Map<String, Value>) -> Option<Map<String, Value>> {
        known.retain(|name, _| FIELDS.contains(&name.as_str()));
        let mut slo: Map<String, Value> = match known.remove("slo") {
            Some(Value::Object(slo)) => slo,
            _ => Map::new(),
        };
        let mut is_any = !self.unset.is_empty();
        let mut put = |into: &mut Map<String, Value>, name: &str, value: Option<Value>| {
            if let Some(value) = value {
                into.insert(name.to_owned(), value);
                is_any = true;
            }
        };
        for field in &self.unset {
            let _ = match field {
                Field::Description => known.remove("description"),
                Field::Availability => slo.remove("availability"),
                Field::LatencyMs => slo.remove("latency_ms"),
                Field::Quorum => known.remove("quorum"),
                Field::PanicThresholdPercent => known.remove("panic_threshold_percent"),
                Field::DependsOn => known.remove("depends_on"),
            };
        }
        put(&mut slo, "availability", self.availability.map(Value::from));
        put(&mut slo, "latency_ms", self.latency_ms.map(Value::from));
        put(&mut known, "description", self.description.clone().map(Value::from));
        put(&mut known, "quorum", self.quorum.map(|quorum| json!(quorum)));
        let percent = self.panic_threshold_percent.map(Value::from);
        put(&mut known, "panic_threshold_percent", percent);
        let depends_on = Some(&self.depends_on).filter(|names| !names.is_empty());
        put(&mut known, "depends_on", depends_on.map(|names| json!(names)));
        if !slo.is_empty() {
            known.insert("slo".to_owned(), Value::Object(slo));
        }
        is_any.then_some(known)
    }
}

impl Forget {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let path = format!("/v1/services/{}", segment(&self.service)?);
        self.node.api()?.call::<Value>(Method::DELETE, &path, None::<&()>).await?;
        out::line(format_args!("{}: what was said of it is removed", self.service));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        set: Set,
    }

    #[test]
    fn what_is_not_named_stays() {
        let known = json!({"name": "web", "description": "the shop", "slo": {"availability": 0.99, "latency_ms": 50},
            "depends_on": ["db"], "instances": 2, "passing": 2, "critical": 0});
        let record = |args: &[&str]| {
            let args = [&["x", "web"], args].concat();
            let set = Command::try_parse_from(args).expect("arguments").set;
            let Value::Object(known) = known.clone() else { panic!("an object") };
            set.record(known).map(Value::Object)
        };
        assert_eq!(record(&[]), None);
        assert_eq!(
            record(&[
                "--latency-ms",
                "80",
                "--quorum",
                "2",
                "--depends-on",
                "a",
                "--depends-on",
                "b/c"
            ]),
            Some(
                json!({"description": "the shop", "slo": {"availability": 0.99, "latency_ms": 80}, "quorum": 2,
                "depends_on": ["a", "b/c"]})
            )
        );
        assert_eq!(
            record(&["--unset", "availability", "--unset", "latency-ms", "--unset", "depends-on"]),
            Some(json!({"description": "the shop"}))
        );
        assert!(Command::try_parse_from(["x", "web", "--quorum", "most"]).is_err());
    }
}
