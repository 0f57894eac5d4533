//! From opinions to verdicts: the quorum, the panic threshold, maintenance windows, dependencies, and how it was.

use std::{process::Command, time::Duration};

use chrono::{DateTime, TimeDelta, Timelike, Utc};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::common::{
    Cluster, Node, cluster::encode, eventually, http, receiver::Receiver, wait::ensure,
};

/// Everything here happens within seconds; a machine that is busy may need longer.
const SOON: Duration = Duration::from_secs(20);
const INTERVAL_MS: u64 = 300;

/// Something that accepts connections, until it is stopped.
struct Port {
    port: u16,
    task: Option<JoinHandle<()>>,
}

impl Port {
    async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let port = listener.local_addr().expect("address").port();
        Self { port, task: Some(tokio::spawn(accept(listener))) }
    }

    fn stop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }

    async fn start(&mut self) {
        let address = ("127.0.0.1", self.port);
        let listener = eventually("its port is free", SOON, async || {
            TcpListener::bind(address).await.map_err(|e| e.to_string())
        });
        self.task = Some(tokio::spawn(accept(listener.await)));
    }
}

async fn accept(listener: TcpListener) {
    // A connection that fails is the prober's business.
    loop {
        drop(listener.accept().await);
    }
}

fn alerting(sink: &Receiver) -> Value {
    json!({
        "receivers": [{"name": "ops-hook", "webhook": sink.url("/webhook")}],
        "pages": {"receivers": ["ops-hook"]},
        "failover": [{"name": "any", "when": {"role": "primary"}, "callback": {"url": sink.url("/callback")}}],
    })
}

/// Registers instances `{service}-0`, `{service}-1`, … and waits until all are passing.
async fn fleet(node: &Node, service: &str, count: usize) -> Vec<Port> {
    let mut ports = Vec::new();
    for at in 0..count {
        let port = Port::open().await;
        let instance = json!({
            "id": format!("{service}-{at}"), "address": "127.0.0.1", "port": port.port, "role": "primary",
            "checks": [{"name": "tcp", "interval_ms": INTERVAL_MS, "timeout_ms": 200, "tcp": {}}],
        });
        node.register(service, &instance).await;
        ports.push(port);
    }
    for at in 0..count {
        node.verdict(service, &format!("{service}-{at}"), "passing", SOON).await;
    }
    ports
}

async fn incidents(node: &Node) -> Vec<Value> {
    let answer = http::get(&node.url("/v1/incidents")).await.expect("incidents");
    answer["incidents"].as_array().cloned().expect("a list")
}

/// Runs a command against the node, and gives what it says.
fn watchkeep(node: &Node, args: &[&str]) -> Result<String, String> {
    let output = Command::new(env!("CARGO_BIN_EXE_watchkeep"))
        .args(args)
        .args(["--http", &node.url("")])
        .output()
        .expect("watchkeep");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

#[tokio::test(flavor = "multi_thread")]
async fn half_the_fleet_fails_at_once() {
    let sink = Receiver::start().await;
    let cluster = Cluster::start(1, &[("alerting", alerting(&sink))]).await;
    let node = &cluster.nodes[0];
    let mut ports = fleet(node, "web", 10).await;
    ports[..5].iter_mut().for_each(Port::stop);

    let panic = eventually("panic", SOON, async || {
        node.get("/watchkeep/panics/web").await?.ok_or_else(|| "there is none".to_owned())
    })
    .await;
    assert_eq!((&panic["instances"], &panic["threshold_percent"]), (&json!(10), &json!(40)));
    // What was believed before there were too many is taken back.
    eventually("the last good set", SOON, async || {
        let verdicts = node.list("/watchkeep/verdicts/web/").await?;
        let passing = verdicts.iter().filter(|verdict| verdict["status"] == "passing").count();
        ensure(passing == 10, || format!("{passing} of 10 pass"))
    })
    .await;
    let opened = incidents(node).await;
    let (panics, others): (Vec<Value>, Vec<Value>) =
        opened.into_iter().partition(|incident| incident["alert"] == "ServicePanic");
    assert_eq!((panics.len(), &panics[0]["id"]), (1, &panic["incident"]));
    assert!(others.len() <= 1, "only the first one is believed: {others:?}");
    assert!(others.iter().all(|incident| incident["status"] == "resolved"), "{others:?}");
    assert!(sink.at("/callback").len() <= 1);
    let pages = sink.wait("/webhook", 1, SOON).await;
    let of_panic = |body: &Value| body["commonLabels"]["alertname"] == "ServicePanic";
    eventually("one page for all of them", SOON, async || {
        let bodies: Vec<Value> = sink.at("/webhook").iter().map(|page| page.json()).collect();
        let count = bodies.iter().filter(|body| of_panic(body)).count();
        ensure(count == 1, || format!("{count} of {}", pages.len()))
    })
    .await;
    let metrics = http::text(http::client().get(node.url("/metrics"))).await.expect("metrics");
    assert!(metrics.contains("watchkeep_alerting_panics{service=\"web\"} 1"));
    // Whoever asks for the service is told, by the registry and from memory; so is who looks at the console.
    for query in ["", "?stale=true"] {
        let service = http::get(&node.url(&format!("/v1/services/web{query}"))).await.expect("web");
        assert_eq!(service["panic"]["incident"], panic["incident"], "{query}: {service}");
    }
    let home = http::text(http::client().get(node.url("/"))).await.expect("the console");
    assert!(home.contains("of 10 seemed critical"), "{home}");

    for port in &mut ports[..5] {
        port.start().await;
    }
    eventually("the panic is over", SOON, async || {
        let panic = node.get("/watchkeep/panics/web").await?;
        ensure(panic.is_none(), || format!("{panic:?}"))?;
        let open = http::get(&node.url("/v1/incidents?status=triggered")).await?;
        ensure(open["incidents"] == json!([]), || open.to_string())
    })
    .await;

    // One alone is believed as ever.
    let before = sink.at("/callback").len();
    ports[7].stop();
    node.verdict("web", "web-7", "critical", SOON).await;
    sink.wait("/callback", before + 1, SOON).await;
}

/// A service's own threshold: 0 believes everything, a lower one less than usual.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_has_its_own_panic_threshold() {
    let cluster = Cluster::start(1, &[]).await;
    let node = &cluster.nodes[0];
    for (service, percent) in [("web", "0"), ("shop", "20")] {
        let args = ["service", "set", service, "--panic-threshold-percent", percent];
        watchkeep(node, &args).expect("set");
    }
    // Of six the usual threshold, 40 %, holds three and believes two.
    let (mut web, mut shop) = (fleet(node, "web", 6).await, fleet(node, "shop", 6).await);
    web[..3].iter_mut().for_each(Port::stop);
    for at in 0..3 {
        node.verdict("web", &format!("web-{at}"), "critical", SOON).await;
    }
    let panic = node.get("/watchkeep/panics/web").await.expect("an answer");
    assert_eq!(panic, None, "0 switches it off");

    shop[..2].iter_mut().for_each(Port::stop);
    let panic = eventually("panic", SOON, async || {
        node.get("/watchkeep/panics/shop").await?.ok_or_else(|| "there is none".to_owned())
    })
    .await;
    assert_eq!(panic["threshold_percent"], 20, "{panic}");
    eventually("the last good set", SOON, async || {
        let verdicts = node.list("/watchkeep/verdicts/shop/").await?;
        let passing = verdicts.iter().filter(|verdict| verdict["status"] == "passing").count();
        ensure(passing == 6, || format!("{passing} of 6 pass"))
    })
    .await;
    // Back to the usual, two are believed.
    let args = ["service", "set", "shop", "--unset", "panic-threshold-percent"];
    watchkeep(node, &args).expect("unset");
    for at in 0..2 {
        node.verdict("shop", &format!("shop-{at}"), "critical", SOON).await;
    }
}

/// A window that a cron line with seconds opens and closes.
#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_comes_by_the_clock_opens_and_closes() {
    const LONG: Duration = Duration::from_secs(90);
    let sink = Receiver::start().await;
    let mut alerting = alerting(&sink);
    // Once in a minute, and soon: when the cluster is up.
    let second = (Utc::now() + TimeDelta::seconds(15)).second();
    alerting["maintenance"] = json!([{"id": "often", "scope": {"service": "db"},
        "schedule": format!("{second} * * * * *"), "duration_seconds": 15, "author": "alice"}]);
    let cluster = Cluster::start(1, &[("alerting", alerting)]).await;
    let node = &cluster.nodes[0];
    let mut ports = fleet(node, "db", 1).await;
    let opened = eventually("it has opened", LONG, async || {
        let found = http::get(&node.url("/v1/maintenance/often")).await?;
        let from = found["open"]["from"].as_str().and_then(|from| from.parse().ok());
        let from: DateTime<Utc> = from.ok_or_else(|| found.to_string())?;
        // The leader looks every second, and what follows takes some.
        let since = (Utc::now() - from).num_seconds();
        ensure((2..8).contains(&since), || found.to_string())?;
        Ok(from)
    })
    .await;
    assert_eq!(opened.second(), second);
    ports[0].stop();
    let verdict = node.verdict("db", "db-0", "critical", SOON).await;
    assert_eq!(verdict["silenced"], json!({"reason": "maintenance", "by": "often"}));
    assert!(incidents(node).await.is_empty() && sink.at("/callback").is_empty());

    // It closes by itself: what is still so is told, from then on.
    let callback = sink.wait("/callback", 1, LONG).await[0].json();
    assert_eq!(callback["service"], "db");
    let closed = opened + TimeDelta::seconds(15);
    assert!(Utc::now() >= closed, "told before {closed}");
    let incident = incidents(node).await.remove(0);
    assert_eq!(incident["started_at"], verdict["first_seen"], "{incident}");
    let ended = http::get(&node.url("/v1/maintenance/often")).await.expect("the window");
    let next = (opened + TimeDelta::seconds(60)).format("%Y-%m-%dT%H:%M:%SZ").to_string();
    assert_eq!((&ended["open"], &ended["next"]["from"]), (&Value::Null, &json!(next)), "{ended}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_inside_of_a_maintenance_window() {
    let sink = Receiver::start().await;
    let mut alerting = alerting(&sink);
    alerting["maintenance"] = json!([{"id": "nightly", "scope": {"tag": "batch"}, "schedule": "30 2 * * *",
        "duration_seconds": 60, "time_zone": "Europe/Berlin", "author": "alice"}]);
    let cluster = Cluster::start(1, &[("alerting", alerting)]).await;
    let node = &cluster.nodes[0];
    let mut ports = fleet(node, "db", 1).await;

    let added =
        ["maintenance", "add", "--id", "disks", "--service", "db", "--for", "1h", "--by", "bob"];
    let said = watchkeep(node, &added).expect("added");
    assert!(said.starts_with("disks open until "), "{said}");
    let again = watchkeep(node, &added).expect_err("twice");
    assert!(again.contains("disks exists"), "{again}");
    ports[0].stop();
    let verdict = node.verdict("db", "db-0", "critical", SOON).await;
    assert_eq!(verdict["silenced"], json!({"reason": "maintenance", "by": "disks"}));
    assert!(incidents(node).await.is_empty() && sink.at("/callback").is_empty());
    let seen = http::get(&node.url("/v1/services/db/instances/db-0")).await.expect("the instance");
    assert_eq!(seen["silenced"], verdict["silenced"], "{seen}");
    let listed = watchkeep(node, &["maintenance", "list"]).expect("listed");
    assert!(listed.contains("service db") && listed.contains("nightly"), "{listed}");

    let said = watchkeep(node, &["maintenance", "remove", "disks"]).expect("ended");
    assert_eq!(said, "disks ended\n");
    let callback = sink.wait("/callback", 1, SOON).await[0].json();
    assert_eq!(callback["service"], "db", "what was due comes at the end");
    let incident = incidents(node).await.remove(0);
    assert_eq!(incident["started_at"], verdict["first_seen"], "{incident}");
    let verdict = node.verdict("db", "db-0", "critical", SOON).await;
    assert_eq!(verdict.get("silenced"), None);
    // Whoever is critical for too long is deregistered.
    let gone = json!({
        "id": "gone", "address": "127.0.0.1", "port": ports[0].port,
        "checks": [{"name": "tcp", "interval_ms": INTERVAL_MS, "timeout_ms": 200, "tcp": {},
                    "deregister_after_seconds": 1}],
    });
    node.register("web", &gone).await;
    eventually("deregistered", SOON, async || {
        let open = http::get(&node.url("/v1/incidents?status=triggered")).await?;
        ensure(open.to_string().contains("deregistered: critical"), || open.to_string())?;
        let instance = node.get("/watchkeep/instances/web/gone").await?;
        ensure(instance.is_none(), || format!("{instance:?}"))
    })
    .await;
    // It stays on record, with its end.
    let ended = http::get(&node.url("/v1/maintenance/disks")).await.expect("the window");
    assert_eq!((&ended["open"], &ended["author"]), (&Value::Null, &json!("bob")));

    let url = node.url("/v1/maintenance");
    for (method, path, body, status, part) in [
        (Method::POST, "", r#"{"scope": {}, "duration_seconds": 60}"#, 400, "covers nothing"),
        (Method::POST, "", r#"{"scope": {"service": "db"}}"#, 400, "to is missing"),
        (
            Method::POST,
            "",
            r#"{"scope": {"all": true}, "schedule": "0 25 * * *", "duration_seconds": 60}"#,
            400,
            "schedule: bad cron line",
        ),
        (
            Method::POST,
            "",
            r#"{"id": "nightly", "scope": {"all": true}, "duration_seconds": 60}"#,
            409,
            "exists",
        ),
        (Method::DELETE, "/nightly", "", 409, "stands in the configuration"),
        (Method::DELETE, "/nothing", "", 404, "does not exist"),
    ] {
        let body = Some(body).filter(|body| !body.is_empty());
        let (found, said) = http::any(method, &format!("{url}{path}"), body).await;
        assert_eq!(found, StatusCode::from_u16(status).expect("a status"), "{said}");
        assert!(said.contains(part), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_parent_silences_its_children() {
    let sink = Receiver::start().await;
    let cluster = Cluster::start(1, &[("alerting", alerting(&sink))]).await;
    let node = &cluster.nodes[0];
    let put = async |service: &str, body: &str| {
        let url = node.url(&format!("/v1/services/{service}"));
        http::any(Method::PUT, &url, Some(body)).await
    };
    assert_eq!(put("web", r#"{"depends_on": ["db"]}"#).await.0, StatusCode::OK);
    assert_eq!(put("shop", r#"{"depends_on": ["web"]}"#).await.0, StatusCode::OK);
    let (status, said) = put("db", r#"{"depends_on": ["shop"]}"#).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(said.contains("db → shop → web → db"), "{said}");

    let mut db = fleet(node, "db", 1).await;
    let (mut web, mut shop) = (fleet(node, "web", 2).await, fleet(node, "shop", 1).await);
    for port in db.iter_mut().chain(&mut web).chain(&mut shop) {
        port.stop();
    }
    let silenced = async |service: &str, id: &str, by: &str| {
        eventually(&format!("{id} is silenced"), SOON, async || {
            let key = format!("/watchkeep/verdicts/{service}/{id}");
            let verdict = node.get(&key).await?.unwrap_or_default();
            let silence = &verdict["silenced"];
            let right = silence["reason"] == "dependency" && silence["by"] == by;
            ensure(right && silence["incident"].is_string(), || verdict.to_string())?;
            Ok(silence["incident"].clone())
        })
        .await
    };
    for (service, id, by) in
        [("web", "web-0", "db"), ("web", "web-1", "db"), ("shop", "shop-0", "web")]
    {
        let by = silenced(service, id, by).await;
        let open = incidents(node).await;
        assert_eq!((open.len(), &open[0]["labels"]["service"]), (1, &json!("db")), "{open:?}");
        assert_eq!(by, open[0]["id"]);
    }
    assert_eq!(sink.wait("/callback", 1, SOON).await[0].json()["service"], "db");
    eventually("the incident names them", SOON, async || {
        let timeline = incidents(node).await[0]["timeline"].to_string();
        ensure(timeline.contains("nobody is told of web"), || timeline.clone())
    })
    .await;

    // The parent is back, and one child is not: now it is told, once it has had its time.
    db[0].start().await;
    web[1].start().await;
    shop[0].start().await;
    eventually("the child's own incident", SOON, async || {
        let open = http::get(&node.url("/v1/incidents?status=triggered")).await?;
        let open = open["incidents"].as_array().cloned().unwrap_or_default();
        let names: Vec<&Value> = open.iter().map(|i| &i["labels"]["instance"]).collect();
        ensure(names == [&json!("web-0")], || format!("{names:?}"))
    })
    .await;
    sink.wait("/callback", 2, SOON).await;
    assert_eq!(sink.at("/callback").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn how_it_was_and_who_contradicts_whom() {
    let sink = Receiver::start().await;
    let cluster = Cluster::start(1, &[("alerting", alerting(&sink))]).await;
    let node = &cluster.nodes[0];
    let mut ports = fleet(node, "web", 1).await;
    let at = |time: &str| node.url(&format!("/v1/services/web?at={}", time.replace('+', "%2B")));
    // The mark that comes within a second of the verdict.
    let before = eventually("a mark behind the verdict", SOON, async || {
        let now = Utc::now().to_rfc3339();
        let past = http::get(&at(&now)).await?;
        ensure(past["passing"] == 1, || past.to_string())?;
        Ok(now)
    })
    .await;
    ports[0].stop();
    node.verdict("web", "web-0", "critical", SOON).await;
    eventually("a mark behind the fault", SOON, async || {
        let past = http::get(&at(&Utc::now().to_rfc3339())).await?;
        ensure(past["critical"] == 1, || past.to_string())
    })
    .await;

    let past = http::get(&at(&before)).await.expect("the past");
    let member = &past["members"][0];
    assert_eq!((&past["passing"], &member["status"]), (&json!(1), &json!("passing")), "{past}");
    assert_eq!(member["opinions"]["tcp"]["node-1"]["status"], "passing", "{past}");
    assert!(past["as_of"].as_str() <= past["at"].as_str(), "{past}");
    let listed = watchkeep(node, &["service", "list", "web", "--at", &before]).expect("listed");
    assert!(listed.contains("web-0") && listed.contains("passing"), "{listed}");
    let listed = watchkeep(node, &["service", "list", "web"]).expect("listed");
    assert!(listed.contains("critical"), "{listed}");

    // Another collector, whose opinion is put in by hand, sees no fault: one of two is no majority any more.
    let put = async |key: &str, value: Value| {
        let body = json!({"key": encode(key), "value": encode(&value.to_string())});
        node.v3("kv/put", &body).await.expect("put");
    };
    let now = Utc::now();
    put("/watchkeep/collectors/other", json!({"id": "other", "started_at": now})).await;
    let opinion =
        json!({"status": "passing", "since": now, "first_seen": now, "reason": "by hand"});
    put("/watchkeep/opinions/web/web-0/tcp/other", opinion).await;
    node.verdict("web", "web-0", "passing", SOON).await;
    eventually("the disagreement shows", SOON, async || {
        let metrics = http::text(http::client().get(node.url("/metrics"))).await?;
        for series in [
            "watchkeep_alerting_opinion_disagreement{service=\"web\"} 1",
            "watchkeep_alerting_opinions_outvoted{collector=\"node-1\"} 1",
            "watchkeep_alerting_opinions_outvoted{collector=\"other\"} 1",
        ] {
            ensure(metrics.contains(series), || format!("{series} is missing"))?;
        }
        Ok(())
    })
    .await;
    let (status, said) =
        http::any(Method::PUT, &node.url("/v1/services/web"), Some(r#"{"quorum": "any"}"#)).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    node.verdict("web", "web-0", "critical", SOON).await;

    // What is compacted is gone, and it is said from when on there is something.
    let head = node.v3("kv/range", &json!({"key": encode("x")})).await.expect("a revision");
    let revision = head["header"]["revision"].as_str().expect("a revision");
    node.v3("kv/compaction", &json!({"revision": revision})).await.expect("compacted");
    for (time, status, part) in [
        (before.as_str(), StatusCode::GONE, "history reaches back to"),
        ("2020-01-01T00:00:00Z", StatusCode::GONE, "history reaches back to"),
        ("2100-01-01T00:00:00Z", StatusCode::BAD_REQUEST, "still to come"),
        ("noon", StatusCode::BAD_REQUEST, "give a time like"),
    ] {
        let (found, said) = http::any(Method::GET, &at(time), None).await;
        assert_eq!(found, status, "{time}: {said}");
        assert!(said.contains(part), "{said}");
    }
}
