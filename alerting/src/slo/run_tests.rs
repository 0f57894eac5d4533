//! The moving parts over a real etcd and samples in memory.

use std::{
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use axum::{
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use futures::future::BoxFuture;
use prometheus::Registry;
use serde_json::{Value, json};
use tower::ServiceExt;
use watchkeep_catalog::{Client, client::Change, keys};

use super::*;
use crate::{
    slo::{Bucket, DayRecord, Slo, SloConfig, openslo, probes::tests::series},
    source::{QueryAnswer, QueryData, SeriesData, Source, SourceError},
};

/// Longest wait for anything here.
const DEADLINE: Duration = Duration::from_secs(20);

/// An etcd of our own, killed at the end.
struct Etcd {
    process: Child,
    folder: PathBuf,
    endpoint: String,
}

impl Etcd {
    fn start() -> Self {
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (client, peer) = (free(), free());
        let folder =
            std::env::temp_dir().join(format!("watchkeep-slo-{}-{client}", std::process::id()));
        let endpoint = format!("http://127.0.0.1:{client}");
        let peer = format!("http://127.0.0.1:{peer}");
        let process = Command::new("etcd")
            .args(["--data-dir".as_ref(), folder.as_os_str()])
            .args(["--listen-client-urls", &endpoint, "--advertise-client-urls", &endpoint])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("default={peer}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("etcd is installed (cargo xtask test installs it)");
        Self { process, folder, endpoint }
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// One probe a second of `web-1` since a minute ago; it failed ten seconds ago and was good a second later.
#[derive(Default)]
struct Samples {
    asked: Mutex<Vec<(i64, i64)>>,
    broken: bool,
}

impl Source for Samples {
    fn select<'a>(
        &'a self,
        selector: &'a str,
        from: i64,
        to: i64,
    ) -> BoxFuture<'a, Result<Vec<SeriesData>, SourceError>> {
        self.asked.lock().unwrap().push((from, to));
        if self.broken {
            let (selector, message) = (selector.to_owned(), "the disk is gone".to_owned());
            return Box::pin(async { Err(SourceError::Read { selector, message }) });
        }
        let first = START - START % 1_000 - 60_000;
        let moments = (first..to).step_by(1_000).filter(|at| (from..=to).contains(at));
        let samples: Vec<_> = match selector {
            r#"probe_success{service="web",job=""}"# => {
                moments.map(|at| (at, if at == first + 50_000 { 0.0 } else { 1.0 })).collect()
            }
            r#"probe_duration_seconds{service="web",job=""}"# => {
                moments.map(|at| (at, 0.01)).collect()
            }
            other => panic!("unexpected selector {other}"),
        };
        Box::pin(async move { Ok(vec![series("web-1", &samples)]) })
    }
}

/// A moment that the source's samples lie around: 2026-06-01 12:34:56.
const START: i64 = 1_780_317_296_000;

fn instance() -> Value {
    json!({"service": "web", "id": "web-1", "address": "127.0.0.1", "port": 80})
}

/// Waits until `found` says something.
async fn until<T>(what: &str, mut found: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = found().await {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not happen in {DEADLINE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn metric(registry: &Registry, line: &str) -> Option<f64> {
    let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    let found = text.lines().find_map(|l| l.strip_prefix(line))?;
    found.trim().parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_leader_shows_gauges_and_writes_roll_ups() {
    let etcd = Etcd::start();
    let client = Client::new(std::slice::from_ref(&etcd.endpoint)).unwrap();
    until("etcd's answer", async || client.get("x").await.ok()).await;
    client.put_json(&keys::instance("web", "web-1"), &instance(), 0).await.unwrap();
    let registry = Registry::new();
    let (token, leader) = (CancellationToken::new(), watch::Sender::new(None));
    let source = Arc::new(NowSamples);
    let slo = Slo::new(SloConfig::default(), client.clone(), source, &registry).unwrap();
    let running = tokio::spawn(slo.clone().run(token.clone(), leader.subscribe()));

    // A follower reports, and no more.
    let report = until("a report", async || get(&slo, "/v1/slo/web", "").await.1.ok()).await;
    assert_eq!(report["windows"][0]["window"], "1h");
    let ratio = "watchkeep_slo_availability_ratio{service=\"web\",window=\"30d\"}";
    assert_eq!(metric(&registry, ratio), None);

    // A leader of long ago is fenced off.
    let revision = client.put(keys::ALERTING_LEADER, "{}", 0).await.unwrap();
    leader.send_replace(Some(revision - 1));
    let fenced = "watchkeep_slo_rollups_total{result=\"fenced\"}";
    until("fencing", async || metric(&registry, fenced).filter(|n| *n > 0.0)).await;
    assert!(client.list(keys::SLO).await.unwrap().0.is_empty());

    // The real one writes today's record, and deletes one that is too old.
    let old = keys::slo_day("web", "2001-02-03");
    let hours = vec![json!({"total": 1, "good": 1, "fast": 1}); 24];
    let record = json!({"service": "web", "day": "2001-02-03", "hours": hours, "updated_at": "2001-02-03T00:00:00Z"});
    client.put_json(&old, &record, 0).await.unwrap();
    leader.send_replace(Some(revision));
    let record: DayRecord = until("a roll-up", async || {
        let (kvs, _) = client.list(keys::SLO).await.unwrap();
        let fresh = kvs.iter().rfind(|kv| kv.key != old)?;
        Some(fresh.json().unwrap())
    })
    .await;
    assert!(record.hours.iter().any(|h| h.total > 0));
    until("deletion", async || client.get(&old).await.unwrap().is_none().then_some(())).await;
    let shown = until("a gauge", async || metric(&registry, ratio)).await;
    assert!(shown > 0.9 && shown < 1.0, "{shown}");

    leader.send_replace(None);
    until("hiding", async || metric(&registry, ratio).is_none().then_some(())).await;
    token.cancel();
    running.await.unwrap();
}

/// As [`Samples`], around the present.
struct NowSamples;

impl Source for NowSamples {
    fn select<'a>(
        &'a self,
        selector: &'a str,
        from: i64,
        to: i64,
    ) -> BoxFuture<'a, Result<Vec<SeriesData>, SourceError>> {
        let value = if selector.starts_with("probe_success") { 1.0 } else { 0.01 };
        let success = value == 1.0;
        let moments = (from - from.rem_euclid(1_000)..=to).step_by(1_000);
        let bad = |at: i64| success && at % 60_000 == 0;
        let samples: Vec<_> = moments.map(|at| (at, if bad(at) { 0.0 } else { value })).collect();
        Box::pin(async move { Ok(vec![series("web-1", &samples)]) })
    }
}

/// As [`NowSamples`], when it is not out of order; it answers every question in PromQL with a hundred.
#[derive(Default)]
struct Late {
    broken: AtomicBool,
}

impl Late {
    fn failure(&self, selector: &str) -> Result<(), SourceError> {
        let (selector, message) = (selector.to_owned(), "not yet".to_owned());
        match self.broken.load(Ordering::Relaxed) {
            true => Err(SourceError::Read { selector, message }),
            false => Ok(()),
        }
    }
}

impl Source for Late {
    fn select<'a>(
        &'a self,
        selector: &'a str,
        from: i64,
        to: i64,
    ) -> BoxFuture<'a, Result<Vec<SeriesData>, SourceError>> {
        Box::pin(async move {
            self.failure(selector)?;
            if selector.contains("openslo") {
                return Ok(Vec::new());
            }
            NowSamples.select(selector, from, to).await
        })
    }

    fn query<'a>(
        &'a self,
        expr: &'a str,
        _at_ms: i64,
    ) -> BoxFuture<'a, Result<QueryAnswer, SourceError>> {
        Box::pin(async move {
            self.failure(expr)?;
            let (warnings, infos) = Default::default();
            Ok(QueryAnswer { data: QueryData::Scalar(100.0), warnings, infos })
        })
    }
}

/// What a leader could not write at first, it writes when it can: samples are there for a day only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_written_is_due_until_it_is() {
    let etcd = Etcd::start();
    let client = Client::new(std::slice::from_ref(&etcd.endpoint)).unwrap();
    until("etcd's answer", async || client.get("x").await.ok()).await;
    let leader = Some(client.put(keys::ALERTING_LEADER, "{}", 0).await.unwrap());
    let source = Arc::new(Late::default());
    let (config, registry) = (SloConfig::default(), Registry::new());
    let slo = Slo::new(config, client.clone(), Arc::clone(&source) as _, &registry).unwrap();
    let ratio = openslo::Indicator::Ratio {
        counter: true,
        part: "good".to_owned(),
        part_is_good: true,
        total: "all".to_owned(),
    };
    let document = openslo::Slo {
        name: "shop".to_owned(),
        service: "shop".to_owned(),
        display_name: "shop".to_owned(),
        target: 0.99,
        method: openslo::Method::Occurrences,
        window: openslo::TimeWindow::Rolling(24),
        indicators: vec![(ratio, 1.0)],
        alerts: Vec::new(),
        file: "shop.yaml".to_owned(),
        line: 1,
    };
    let window = json!({"id": "disks", "scope": {"service": "shop"}, "comment": "new ones",
        "from": "2026-06-01T11:10:00Z", "to": "2026-06-01T11:20:00Z"});
    let window = serde_json::from_value(window).unwrap();
    let slo = slo.with_openslo(vec![document]).with_maintenance(&[window]);
    tell(&slo);
    let mut done = Done::default();
    let counted = async || -> BTreeMap<String, usize> {
        let (kvs, _) = client.list(keys::SLO).await.unwrap();
        let records = kvs.iter().map(|kv| kv.json::<DayRecord>().unwrap());
        let hours = |record: DayRecord| record.hours.iter().filter(|h| h.total > 0).count();
        let name = |kv: DayRecord| (format!("{} {}", kv.service, kv.day), hours(kv));
        records.map(name).collect()
    };

    source.broken.store(true, Ordering::Relaxed);
    round(&slo.engine, &mut done, leader, START).await;
    assert_eq!(counted().await, BTreeMap::new());
    source.broken.store(false, Ordering::Relaxed);
    round(&slo.engine, &mut done, leader, START + 2 * MINUTE_MS).await;
    // It is 12:36, and raw samples reach back to 11:00 yesterday.
    let expected = [
        ("openslo.shop 2026-05-31", 12),
        ("openslo.shop 2026-06-01", 13),
        ("web 2026-05-31", 13),
        ("web 2026-06-01", 13),
    ];
    let expected: BTreeMap<_, _> =
        expected.into_iter().map(|(name, hours)| (name.to_owned(), hours)).collect();
    assert_eq!(counted().await, expected);

    // In maintenance of its service, a document's events do not count, and it is shown.
    let today: DayRecord = client
        .get(&keys::slo_day("openslo.shop", "2026-06-01"))
        .await
        .unwrap()
        .unwrap()
        .json()
        .unwrap();
    assert_eq!(today.hours[10], Bucket { total: 100, good: 100, fast: 100, excluded: 0 });
    assert_eq!(today.hours[11], Bucket { total: 200, good: 200, fast: 200, excluded: 100 });
    let [shown] = today.maintenance.as_slice() else { panic!("{today:?}") };
    assert_eq!(shown.cause.reason.as_deref(), Some("disks: new ones"));
    assert_eq!(shown.end.unwrap() - shown.start, chrono::TimeDelta::minutes(10));

    // Of a service in trouble there are so many series, of a document only those of what it promises.
    let page = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    let shown = |name: &str, of: &str| {
        page.lines().filter(|line| line.starts_with(name) && line.contains(of)).count()
    };
    assert_eq!(shown("watchkeep_slo_burn_rate{", "service=\"web\""), 2 * 7);
    assert_eq!(shown("watchkeep_slo_burn_confirmed{", "service=\"web\""), 2 * 4);
    assert_eq!(shown("watchkeep_slo_objective{service=\"openslo.shop\"", "availability"), 1);
    assert_eq!(shown("watchkeep_slo_", "openslo.shop\",slo=\"latency\""), 0);
    assert_eq!(shown("watchkeep_slo_latency_", "openslo.shop"), 0);

    // The source is away for five hours. What it knows of them is counted when it is back.
    source.broken.store(true, Ordering::Relaxed);
    let mut now = START + 3 * MINUTE_MS;
    while now < START + 5 * HOUR_MS {
        round(&slo.engine, &mut done, leader, now).await;
        now += 20 * MINUTE_MS;
    }
    source.broken.store(false, Ordering::Relaxed);
    round(&slo.engine, &mut done, leader, now).await;
    let found = counted().await;
    assert_eq!(
        (found["openslo.shop 2026-06-01"], found["web 2026-06-01"]),
        (18, 18),
        "it is 17:37: {found:?}"
    );
}

/// Status, and the body as JSON or as text.
async fn get(slo: &Slo, uri: &str, accept: &str) -> (StatusCode, Result<Value, String>) {
    let request = Request::get(uri).header("accept", accept).body(Body::empty()).unwrap();
    let answer = slo.router().oneshot(request).await.unwrap();
    let status = answer.status();
    let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    let text = String::from_utf8(body.to_vec()).unwrap();
    let json =
        if status.is_success() { serde_json::from_str(&text).map_err(|_| text) } else { Err(text) };
    (status, json)
}

/// No registry behind it: the world is told by hand.
fn offline(source: impl Source) -> Slo {
    let client = Client::new(&["http://127.0.0.1:9".to_owned()]).unwrap();
    Slo::new(SloConfig::default(), client, Arc::new(source), &Registry::new()).unwrap()
}

fn tell(slo: &Slo) {
    for topic in Topic::ALL {
        slo.engine.world().apply(topic, Change::Reset(Vec::new(), 1), 0);
    }
    let kv = watchkeep_catalog::KeyValue {
        key: keys::instance("web", "web-1"),
        value: instance().to_string().into(),
        create_revision: 1,
        mod_revision: 1,
        version: 1,
        lease: 0,
    };
    slo.engine.world().apply(Topic::Instances, Change::Put(kv), 0);
}

#[tokio::test]
async fn answers_over_http() {
    let slo = offline(NowSamples);
    assert_eq!(get(&slo, "/v1/slo", "").await.0, StatusCode::SERVICE_UNAVAILABLE);
    tell(&slo);
    for (uri, accept, status, says) in [
        ("/v1/slo", "*/*", 200, r#"{"as_of":"#),
        ("/v1/slo?window=30d", "application/json", 200, r#""window":"30d","services":["#),
        ("/v1/slo", "text/html,application/xhtml+xml;q=0.9", 200, "<!doctype html>"),
        ("/v1/slo?format=html", "", 200, "<!doctype html>"),
        ("/v1/slo?format=json", "text/html", 200, r#"{"as_of":"#),
        ("/v1/slo/web", "", 200, r#"{"service":"web""#),
        ("/v1/slo/web", "text/html", 200, "<title>web"),
        ("/v1/slo?window=2h", "", 400, r#"window \"2h\" is not known: use 1h, 24h or 30d"#),
        ("/v1/slo?format=xml", "", 400, r#"format \"xml\" is not known: use json or html"#),
        ("/v1/slo?windows=1h", "", 400, "no parameter `windows`; give `window` or `format`"),
        ("/v1/slo/web?window=1h", "", 200, r#"{"service":"web""#),
        ("/v1/slo/web?window=1y", "", 400, r#"window \"1y\" is not known"#),
        ("/v1/slo/nobody", "", 404, r#"service \"nobody\" is not known"#),
    ] {
        let (found, body) = get(&slo, uri, accept).await;
        let body = body.map_or_else(|text| text, |json| json.to_string());
        assert_eq!(found.as_u16(), status, "{uri}: {body}");
        // Parsed JSON loses its order: ask for the key only.
        let says = if found.is_success() {
            says.trim_start_matches(['{', '[']).split(':').next().unwrap()
        } else {
            says
        };
        assert!(body.contains(says), "{uri}: {says} is not in {body}");
    }
}

#[tokio::test]
async fn samples_that_cannot_be_read_are_an_error_with_words() {
    let slo = offline(Samples { broken: true, ..Samples::default() });
    tell(&slo);
    let (status, body) = get(&slo, "/v1/slo/web", "").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(body.unwrap_err().contains("the disk is gone"));
}

#[tokio::test]
async fn once_warm_little_is_read() {
    let source = Arc::new(Samples::default());
    let client = Client::new(&["http://127.0.0.1:9".to_owned()]).unwrap();
    let slo =
        Slo::new(SloConfig::default(), client, Arc::clone(&source) as _, &Registry::new()).unwrap();
    tell(&slo);
    let report = |now| slo.engine.report("web", &Window::ALL, now);
    let first = report(START).await.unwrap();
    assert_eq!(first.windows[0].availability.bad_probes, 1);
    assert_eq!(first.downtimes[0].duration_seconds, 1.0);
    let read = |source: &Samples| -> i64 {
        std::mem::take(&mut *source.asked.lock().unwrap()).iter().map(|(from, to)| to - from).sum()
    };
    assert!(read(&source) >= 2 * 25 * HOUR_MS, "the first time reads all there is");
    report(START + 100).await.unwrap();
    assert_eq!(read(&source), 0, "at once again reads nothing");
    let again = report(START + 5_000).await.unwrap();
    assert!(read(&source) <= 2 * 4 * MINUTE_MS, "then the last minutes");
    assert_eq!(again.windows[1].probes.total, first.windows[1].probes.total + 5);
    report(START + 65_000).await.unwrap();
    assert!(read(&source) <= 2 * 2 * HOUR_MS, "once a minute the last hours");
}

#[test]
fn many_services_are_spread_and_few_are_not() {
    assert_eq!([0, 49].map(|n| offset_ms(n, 50)), [0, 0]);
    assert_eq!([0, 49, 50, 999].map(|n| offset_ms(n, 1_000)), [0, 0, 200, 3_800]);
    assert_eq!(offset_ms(0, 0), 0);
}
