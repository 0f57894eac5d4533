//! Checks that a collector runs by its own schedule.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    Effort, Run,
    common::{eventually, http, wait::ensure},
    cpu::Meter,
};

/// Checks of one instance.
const PER_INSTANCE: u64 = 20;

/// What is registered, and where.
pub(crate) struct Checks<'a> {
    pub(crate) door: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) port: u16,
    /// Keep the connection for the next probe.
    pub(crate) kept: bool,
}

impl Checks<'_> {
    /// Registers them, measures, and removes them.
    pub(crate) async fn run(&self, meter: &Meter, effort: Effort) -> Run {
        let instances = effort.checks.div_ceil(PER_INSTANCE);
        for at in 0..instances {
            let checks = (0..PER_INSTANCE.min(effort.checks - at * PER_INSTANCE))
                .map(|check| self.check(check, effort));
            let checks: Vec<Value> = checks.collect();
            let id = format!("i-{at}");
            let body =
                json!({"id": id, "address": "127.0.0.1", "port": self.port, "checks": checks});
            self.send(Method::POST, "", Some(&body.to_string())).await;
        }
        eventually("all checks run", Duration::from_secs(30), async || {
            let running = self.metric("watchkeep_collector_targets").await?;
            ensure(running >= effort.checks as f64, || format!("{running} run"))
        })
        .await;
        let (before, cpu, begin) = (self.probes().await, meter.seconds(), Instant::now());
        tokio::time::sleep(effort.time).await;
        let (cpu, took) = (meter.seconds() - cpu, begin.elapsed().as_secs_f64());
        let probes = self.probes().await - before;
        for at in 0..instances {
            self.send(Method::DELETE, &format!("/i-{at}"), None).await;
        }
        Run { rate: probes / took, cpu_us: cpu / probes * 1e6 }
    }

    fn check(&self, number: u64, effort: Effort) -> Value {
        json!({
            "name": format!("{}-{number}", self.kind),
            "interval_ms": effort.interval_ms,
            "timeout_ms": 5_000,
            "reuse": self.kept,
            self.kind: {},
        })
    }

    async fn send(&self, method: Method, instance: &str, body: Option<&str>) {
        let url = format!("http://{}/v1/services/bench/instances{instance}", self.door);
        let (status, text) = http::any(method, &url, body).await;
        assert!(status.is_success(), "{url}: {status} {text}");
    }

    /// Probes that succeeded. One that fails spoils the measurement.
    async fn probes(&self) -> f64 {
        let series = "watchkeep_collector_probes_total";
        let of = |result: &str| format!("{series}{{kind=\"{}\",result=\"{result}\"}}", self.kind);
        let failed = self.metric(&of("failure")).await.unwrap_or(0.0);
        assert!(failed == 0.0, "{failed} probes failed");
        self.metric(&of("success")).await.unwrap_or(0.0)
    }

    async fn metric(&self, series: &str) -> Result<f64, String> {
        let page = http::text(http::client().get(format!("http://{}/metrics", self.door))).await?;
        let found = page.lines().find_map(|line| line.strip_prefix(&format!("{series} ")));
        found.and_then(|value| value.parse().ok()).ok_or_else(|| format!("no {series}"))
    }
}
