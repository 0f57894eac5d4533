//! `watchkeep service list`: all services, or the instances of one, with what the counts do not say: who is drained, silenced
//! or in panic.

use anyhow::bail;
use clap::Args;
use serde::Deserialize;
use serde_json::Value;
use url::form_urlencoded;
use watchkeep_catalog::{Drain, Panic, Silence, SilenceReason};

use super::{super::api::Node, segment};
use crate::out;

/// Arguments of `watchkeep service list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    node: Node,
    /// Only the instances of this service
    service: Option<String>,
    /// The same, as the other subcommands have it
    #[arg(long = "service", value_name = "SERVICE", conflicts_with = "service")]
    named: Option<String>,
    /// As it was then: 2026-01-05T09:00:00Z, or seconds since 1970
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// Print the whole answer as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Deserialize)]
struct Services {
    services: Vec<ServiceRow>,
}

#[derive(Debug, Deserialize)]
struct ServiceRow {
    name: String,
    instances: u64,
    passing: u64,
    critical: u64,
    panic: Option<Panic>,
}

#[derive(Debug, Deserialize)]
struct Instances {
    instances: Vec<InstanceRow>,
}

#[derive(Debug, Deserialize)]
struct InstanceRow {
    id: String,
    address: String,
    port: u16,
    #[serde(default)]
    role: String,
    status: String,
    #[serde(default)]
    reason: String,
    drained: Option<Drain>,
    silenced: Option<Silence>,
}

impl List {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let at = |at: &String| {
            form_urlencoded::Serializer::for_suffix("?".to_owned(), 1)
                .append_pair("at", at)
                .finish()
        };
        let query = self.at.as_ref().map(at).unwrap_or_default();
        let service = self.service.as_ref().or(self.named.as_ref());
        let path = match service {
            Some(service) => format!("/v1/services/{}/instances{query}", segment(service)?),
            None => format!("/v1/services{query}"),
        };
        let answer: Value = self.node.api()?.get(&path).await?;
        if self.json {
            out::line(serde_json::to_string_pretty(&answer)?);
            return Ok(());
        }
        let rows = match service {
            Some(service) => {
                let answer: Instances = serde_json::from_value(answer)?;
                if answer.instances.is_empty() {
                    bail!("service {service:?} has no instances");
                }
                instances(answer.instances)
            }
            None => services(serde_json::from_value::<Services>(answer)?.services),
        };
        out::table(&rows);
        Ok(())
    }
}

fn services(all: Vec<ServiceRow>) -> Vec<Vec<String>> {
    let head = ["SERVICE", "INSTANCES", "PASSING", "CRITICAL", "REMARK"];
    let row = |s: ServiceRow| {
        let panic = s.panic.map(|panic| {
            format!("panic: {} of {} seemed critical", panic.critical, panic.instances)
        });
        let counts = [s.instances, s.passing, s.critical].map(|count| count.to_string());
        let [instances, passing, critical] = counts;
        vec![s.name, instances, passing, critical, panic.unwrap_or_default()]
    };
    [head.map(str::to_owned).to_vec()].into_iter().chain(all.into_iter().map(row)).collect()
}

fn instances(all: Vec<InstanceRow>) -> Vec<Vec<String>> {
    let head = ["INSTANCE", "ADDRESS", "ROLE", "STATUS", "REMARK", "REASON"];
    let row = |i: InstanceRow| {
        let remark = remark(i.drained.as_ref(), i.silenced.as_ref());
        vec![i.id, format!("{}:{}", i.address, i.port), i.role, i.status, remark, i.reason]
    };
    [head.map(str::to_owned).to_vec()].into_iter().chain(all.into_iter().map(row)).collect()
}

/// Why it is in no answer, and why nobody is told of it.
fn remark(drained: Option<&Drain>, silenced: Option<&Silence>) -> String {
    let drained = drained.map(|drain| format!("drained by {}", drain.by));
    let silenced = silenced.map(|silence| match silence.reason {
        SilenceReason::Maintenance => format!("in maintenance {}", silence.by),
        SilenceReason::Dependency => format!("depends on {}", silence.by),
        SilenceReason::Waiting => format!("waits for {}", silence.by),
    });
    drained.into_iter().chain(silenced).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_counts_do_not_say_is_remarked() {
        let drain = json!({"service": "s", "instance": "a", "since": "2026-01-05T09:00:00Z", "by": "alice"});
        let all = json!([
            {"id": "a", "address": "h", "port": 1, "status": "passing", "drained": drain},
            {"id": "b", "address": "h", "port": 1, "status": "critical", "reason": "r",
             "silenced": {"reason": "dependency", "by": "db", "incident": "i"}},
        ]);
        let rows = instances(serde_json::from_value(all).expect("rows"));
        let remarks: Vec<_> = rows.iter().map(|row| row[4].as_str()).collect();
        assert_eq!(remarks, ["REMARK", "drained by alice", "depends on db"]);
        let panic = json!({"service": "s", "since": "2026-01-05T09:00:00Z", "critical": 3, "instances": 6,
            "threshold_percent": 40, "incident": "i"});
        let all =
            json!([{"name": "s", "instances": 6, "passing": 6, "critical": 0, "panic": panic}]);
        let rows = services(serde_json::from_value(all).expect("rows"));
        assert_eq!(rows[1], ["s", "6", "6", "0", "panic: 3 of 6 seemed critical"]);
    }
}
