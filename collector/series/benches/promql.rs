//! How much CPU the engine takes for what the project promises, without a store: `cargo bench -p watchkeep-series`. The
//! comparison with Prometheus is `cargo xtask bench series`.

#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use watchkeep_series::{
    Labels, Matcher, Points, Queryable, Sample, SeriesError,
    promql::{Engine, Expr},
};

const SERIES: usize = 100_000;
const SERVICES: usize = 1_000;
const STEP_MS: i64 = 15_000;
/// Samples per series: five and a half minutes.
const SAMPLES: i64 = 22;

/// Series in slices per service, so that an alert on one service finds its own at once, as by an index.
struct Fleet(Vec<Vec<Points>>);

impl Fleet {
    fn new() -> Self {
        let series = |n: usize, name: &str| {
            let service = format!("service-{:04}", n % SERVICES);
            let labels = [
                ("__name__", name),
                ("service", &service),
                ("instance", &format!("10.0.{}.{}:9100", n / 250, n % 250)),
                ("job", "fleet"),
                ("zone", ["a", "b", "c"][n % 3]),
            ];
            let floats = (0..SAMPLES).map(|at| Sample {
                timestamp_ms: at * STEP_MS,
                value: (at * (n as i64 % 17 + 1)) as f64,
            });
            Points { labels: Labels::new(labels), floats: floats.collect(), ..Points::default() }
        };
        let mut all: Vec<Vec<Points>> = vec![Vec::new(); SERVICES];
        for n in 0..SERIES / 2 {
            all[n % SERVICES].push(series(n, "errors_total"));
            all[n % SERVICES].push(series(n, "requests_total"));
        }
        all.iter_mut().for_each(|s| s.sort_by(|a, b| a.labels.cmp(&b.labels)));
        Self(all)
    }
}

impl Queryable for Fleet {
    fn select(
        &self,
        matchers: &[Matcher],
        from_ms: i64,
        to_ms: i64,
        _: usize,
        each: &mut dyn FnMut(&Labels, &mut Points) -> Result<(), SeriesError>,
    ) -> Result<(), SeriesError> {
        let mut buffer = Points::default();
        let service = matchers.iter().find_map(|m| match m {
            Matcher::Equal(name, value) if name == "service" => value.strip_prefix("service-"),
            _ => None,
        });
        let chosen =
            service.and_then(|n| n.parse::<usize>().ok()).map_or(0..SERVICES, |n| n..n + 1);
        for points in self.0[chosen].iter().flatten() {
            if matchers.iter().all(|m| m.matches(&points.labels)) {
                let within = |s: &&Sample| (from_ms..=to_ms).contains(&s.timestamp_ms);
                buffer.floats.clear();
                buffer.floats.extend(points.floats.iter().filter(within));
                each(&points.labels, &mut buffer)?;
            }
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let fleet = Fleet::new();
    let engine = Engine::default();
    let at_ms = (SAMPLES - 1) * STEP_MS;
    let go = || false;
    for text in [
        r#"sum by (service)(rate({__name__=~"errors_total|requests_total"}[5m]))"#,
        r#"{job="fleet"}"#,
        r#"count({job="fleet"} > 5)"#,
        r#"errors_total / requests_total"#,
        r#"topk(5, requests_total)"#,
    ] {
        let expr = Expr::parse(text)?;
        let began = cpu_ms();
        let answer = engine.instant(&fleet, &expr, at_ms, &go)?;
        println!("{:8.1} ms  {text}  ({} samples)", ms(began), answer.samples_read);
    }
    let began = cpu_ms();
    let mut alerts = Vec::new();
    for service in 0..SERVICES {
        let of = format!("{{service=\"service-{service:04}\"}}[5m]");
        let text = format!(
            "sum by (service)(rate(errors_total{of})) / sum by (service)(rate(requests_total{of})) > 0.01"
        );
        alerts.push(Expr::parse(&text)?);
    }
    println!("{:8.1} ms  {SERVICES} ratio alerts, parsed", ms(began));
    let began = cpu_ms();
    for alert in &alerts {
        engine.instant(&fleet, alert, at_ms, &go)?;
    }
    println!("{:8.1} ms  {SERVICES} ratio alerts, one round", ms(began));
    let expr = Expr::parse("sum by (service)(rate(requests_total[1m]))")?;
    let began = cpu_ms();
    engine.range(&fleet, &expr, 0, at_ms, 1_000, &go)?;
    println!("{:8.1} ms  {expr} at {} steps", ms(began), at_ms / 1_000 + 1);
    Ok(())
}

fn ms(began: f64) -> f64 {
    cpu_ms() - began
}

/// Milliseconds that this thread was on a CPU: other work on the machine does not count.
fn cpu_ms() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split_whitespace().next().and_then(|n| n.parse::<f64>().ok());
    nanoseconds.unwrap_or(f64::NAN) / 1e6
}
