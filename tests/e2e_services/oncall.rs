//! Being paged, through every door: mails that another library reads, with a picture and links; webhooks signed by two keys;
//! a storm that becomes one message; a mail server that is away; and the pages of the console.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::common::{
    Cluster, Node, eventually, http,
    mail::{self, MailServer, part},
    receiver::Receiver,
    signature,
    wait::ensure,
};

const SOON: Duration = Duration::from_secs(20);
const OUTSIDE: &str = "https://watch.example.org";

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A node on which alice is on call; `more` are settings of alerting.
pub(super) async fn node(more: Value) -> Cluster {
    let mut alerting = json!({
        "schedules": [{"name": "primary", "time_zone": "Europe/Berlin", "handoff": "0 9 * * mon",
                       "start": "2026-01-05", "rotation": ["alice"]}],
    });
    for (name, value) in more.as_object().expect("settings") {
        alerting[name] = value.clone();
    }
    let cluster = Cluster::start(1, &[("alerting", alerting)]).await;
    cluster.alerting_leader().await;
    cluster
}

fn secret(dir: &Path, name: &str, content: &str) -> String {
    let file = dir.join(name);
    fs::write(&file, content).expect("written");
    file.display().to_string()
}

pub(super) async fn report(node: &Node, body: Value) -> Value {
    eventually("an incident opens", SOON, async || {
        http::post(&node.url("/v1/incidents"), &body).await
    })
    .await
}

async fn incident(node: &Node, id: &str) -> Value {
    http::get(&node.url(&format!("/v1/incidents/{id}"))).await.expect("the incident")
}

#[tokio::test]
async fn a_mail_with_a_picture_and_links_that_work_once() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let server = MailServer::start(dir.path()).await;
    let cluster = node(json!({
        "external_url": OUTSIDE,
        "smtp": {"host": "127.0.0.1", "port": server.port, "from": "Watchkeep <watch@example.org>"},
        "people": [{"name": "alice", "email": "alice@example.org"}],
        "pages": {"schedule": "primary", "link_secret_file": secret(dir.path(), "links", "link-secret")},
    }))
    .await;
    let node = &cluster.nodes[0];
    let opened = report(
        node,
        json!({"title": "cellar under water: größer & <b>", "labels": {"service": "pumps", "site": "eu-1"},
               "description": "40 cm\nand rising", "details": {"query": "time() > 5", "owner": "house & yard", "pumps": 3, "none": null}}),
    )
    .await;
    let id = text(&opened["id"]);
    let raw = server.wait(&["Message-ID: "], SOON).await;
    let read = mail::read(&raw);
    assert_eq!(read["type"], "multipart/alternative");
    let kinds: Vec<String> =
        read["parts"].as_array().expect("parts").iter().map(|part| text(&part["type"])).collect();
    assert_eq!(kinds, ["text/plain", "text/html", "image/png"]);
    // The picture is one, and the page shows it.
    let png = part(&read, "image/png");
    assert_eq!(png["disposition"], "inline");
    let bytes = text(&png["text"]);
    assert!(bytes.starts_with("89504e470d0a1a0a"), "not a PNG");
    let html = text(&part(&read, "text/html")["text"]);
    let cid = text(&png["id"]);
    assert!(
        html.contains(&format!("src=\"cid:{}\"", cid.trim_matches(['<', '>']))),
        "{cid}: {html}"
    );
    assert!(html.contains("time(), the last hour: from "), "{html}");
    assert!(html.contains(&format!("{OUTSIDE}/incidents/{id}")), "{html}");

    assert_eq!(read["subject"], "[FIRING] cellar under water: größer & <b> (pumps)");
    let plain = text(&part(&read, "text/plain")["text"]);
    for line in [
        "Service       pumps",
        "site          eu-1",
        "owner         house & yard",
        "pumps         3",
    ] {
        assert!(plain.lines().any(|said| said == line), "no {line} in {plain}");
    }
    assert!(html.contains("house &amp; yard"), "{html}");
    let link = plain.lines().find_map(|line| line.strip_prefix("Take it:    ")).expect("a link");
    let path = link.trim().strip_prefix(OUTSIDE).expect("the address from outside").to_owned();
    let ask = async |method: Method, path: &str| http::any(method, &node.url(path), None).await;
    // Whoever looks changes nothing.
    let (status, page) = ask(Method::GET, &path).await;
    assert!(status == StatusCode::OK && page.contains("Acknowledge as alice"), "{page}");
    assert_eq!(incident(node, &id).await["status"], "triggered");
    // Forged, expired, replayed: refused each in its way, and logged.
    let (status, _) = ask(Method::POST, &path.replace("~acknowledge~", "~resolve~")).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let (status, page) = ask(Method::POST, &expired(&path, b"link-secret")).await;
    assert_eq!(status, StatusCode::GONE, "{page}");
    assert_eq!(incident(node, &id).await["status"], "triggered");
    let (status, page) = ask(Method::POST, &path).await;
    assert!(status == StatusCode::OK && page.contains("alice has taken it"), "{page}");
    let (status, _) = ask(Method::POST, &path).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(incident(node, &id).await["acknowledged_by"], "alice");
    // Whoever opens it again is not asked to press what does nothing.
    let (status, page) = ask(Method::GET, &path).await;
    assert!(status == StatusCode::OK && page.contains("used already"), "{page}");
    assert!(!page.contains("<button"), "{page}");
    // A name keeps its place beside a long link, and a line its end; what people read has no milliseconds.
    assert!(html.contains("table-layout:fixed") && html.contains("white-space:pre-line"), "{html}");
    let began = plain.lines().find_map(|line| line.strip_prefix("Began ")).expect("when it began");
    assert!(began.ends_with(" UTC") && !began.contains('.'), "{began}");
    let log = fs::read_to_string(node.log()).expect("a log");
    assert_eq!(log.matches("a link was refused").count(), 3, "{log}");
}

/// The same link with an end that is past, signed as only we can.
fn expired(path: &str, secret: &[u8]) -> String {
    use hmac::{Hmac, KeyInit, Mac};
    let (head, _) = path.rsplit_once('~').expect("a signature");
    let (prefix, token) = head.rsplit_once('/').expect("a token");
    let mut fields: Vec<&str> = token.split('~').collect();
    fields[3] = "1700000000";
    let token = fields.join("~");
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("any length");
    mac.update(b"watchkeep incident link v1\n");
    mac.update(token.as_bytes());
    let signature: String =
        mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{prefix}/{token}~{signature}")
}

#[tokio::test]
async fn two_keys_sign_while_one_replaces_the_other() {
    let (dir, receiver) = (tempfile::tempdir().expect("folder"), Receiver::start().await);
    let cluster = node(json!({
        "people": [{"name": "alice", "webhook": receiver.url("/alice"),
                    "secret_file": secret(dir.path(), "old", "old-key"),
                    "secret_next_file": secret(dir.path(), "new", "new-key")}],
        "pages": {"schedule": "primary"},
    }))
    .await;
    report(&cluster.nodes[0], json!({"title": "x"})).await;
    let request = receiver.wait("/alice", 1, SOON).await[0].clone();
    signature::verify(&request, b"old-key");
    signature::verify(&request, b"new-key");
    assert_eq!(request.header("webhook-signature").split(' ').count(), 2);
}

#[tokio::test]
async fn a_storm_becomes_one_message_and_drops_nothing() {
    const INCIDENTS: usize = 30;
    let (dir, receiver) = (tempfile::tempdir().expect("folder"), Receiver::start().await);
    let server = MailServer::start(dir.path()).await;
    let cluster = node(json!({
        "smtp": {"host": "127.0.0.1", "port": server.port, "from": "watch@example.org"},
        "people": [{"name": "alice", "email": "alice@example.org", "webhook": receiver.url("/alice")}],
        "receivers": [{"name": "program", "webhook": receiver.url("/program")}],
        "pages": {"schedule": "primary", "receivers": ["program"],
                  "rate_limit": {"messages": 3, "per_seconds": 5}},
    }))
    .await;
    let node = &cluster.nodes[0];
    for number in 0..INCIDENTS {
        report(
            node,
            json!({"title": format!("fault {number}"), "dedup_key": format!("f{number}")}),
        )
        .await;
    }
    eventually("every page is delivered", Duration::from_secs(40), async || {
        let all = http::get(&node.url("/v1/incidents")).await?;
        let pages = all["incidents"]
            .as_array()
            .into_iter()
            .flatten()
            .flat_map(|incident| incident["pages"].as_array().cloned().unwrap_or_default());
        let states: Vec<String> = pages.map(|page| text(&page["state"])).collect();
        let delivered = states.iter().filter(|state| *state == "delivered").count();
        ensure(delivered == 3 * INCIDENTS, || format!("{delivered} of {}", states.len()))
    })
    .await;
    // A person hears of all of it in few messages; a program is told of each.
    assert_eq!(receiver.at("/program").len(), INCIDENTS);
    let requests = receiver.at("/alice");
    let told: Vec<String> = requests
        .iter()
        .flat_map(|request| request.json()["alerts"].as_array().cloned().unwrap_or_default())
        .map(|alert| text(&alert["generatorURL"]))
        .collect();
    assert_eq!(told.iter().collect::<BTreeSet<_>>().len(), INCIDENTS, "none is missing");
    assert_eq!(told.len(), INCIDENTS, "none is told twice");
    assert!(requests.len() < INCIDENTS / 2, "{} messages", requests.len());
    for request in &requests {
        // What was sent at most five seconds before; a little less, since time passes between sending and noting it.
        let span = Duration::from_millis(4_500);
        let before = |other: &&crate::common::receiver::Received| {
            other.at <= request.at && request.at.duration_since(other.at) < span
        };
        assert!(requests.iter().filter(before).count() <= 3, "too many at once");
    }
    let mails: Vec<Value> = server.mails().iter().map(|mail| mail::read(mail)).collect();
    assert!(mails.len() < INCIDENTS / 2, "{} mails", mails.len());
    let together = mails.iter().find(|mail| text(&mail["subject"]).contains(" FIRING] "));
    let together = together.unwrap_or_else(|| panic!("no summary in {mails:#?}"));
    assert!(text(&together["subject"]).contains(" more"), "{together}");
    let plain: String = mails.iter().map(|m| text(&part(m, "text/plain")["text"])).collect();
    for number in 0..INCIDENTS {
        assert!(plain.contains(&format!("fault {number}\n")), "fault {number} is in no mail");
    }
}

/// All of them do not fit into one transaction of the registry.
#[tokio::test]
async fn a_storm_of_large_incidents_goes_out() {
    const INCIDENTS: usize = 30;
    let receiver = Receiver::start().await;
    let cluster = node(json!({
        "people": [{"name": "alice", "webhook": receiver.url("/alice")}],
        "pages": {"schedule": "primary", "rate_limit": {"messages": 1, "per_seconds": 2}},
    }))
    .await;
    for number in 0..INCIDENTS {
        let body = json!({"title": format!("fault {number}"), "dedup_key": format!("f{number}"),
                          "description": "x".repeat(60_000)});
        report(&cluster.nodes[0], body).await;
    }
    eventually("every page is delivered", Duration::from_secs(40), async || {
        let requests = receiver.at("/alice");
        let alerts = requests
            .iter()
            .flat_map(|request| request.json()["alerts"].as_array().cloned().unwrap_or_default());
        let told: BTreeSet<String> = alerts.map(|alert| text(&alert["generatorURL"])).collect();
        ensure(told.len() == INCIDENTS, || format!("{} of {INCIDENTS}", told.len()))
    })
    .await;
    assert!(receiver.at("/alice").len() < INCIDENTS / 2, "in few messages");
}

/// What waits for its turn on a way that does not work would otherwise wait until the first are given up, for hours.
#[tokio::test]
async fn in_a_storm_a_dead_way_holds_up_nothing() {
    const INCIDENTS: usize = 8;
    let dir = tempfile::tempdir().expect("temporary folder");
    let server = MailServer::start(dir.path()).await;
    let cluster = node(json!({
        "smtp": {"host": "127.0.0.1", "port": server.port, "from": "watch@example.org"},
        "people": [{"name": "alice", "email": "alice@example.org", "webhook": "http://127.0.0.1:9/dead",
                    "notify": {"urgent": [{"channel": "webhook"}]}}],
        "pages": {"schedule": "primary", "rate_limit": {"messages": 2, "per_seconds": 3}},
    }))
    .await;
    for number in 0..INCIDENTS {
        let body = json!({"title": format!("fault {number}"), "dedup_key": format!("f{number}")});
        report(&cluster.nodes[0], body).await;
    }
    eventually("every fault is told by mail", Duration::from_secs(40), async || {
        let mails = server.mails();
        let mails = mails.iter().map(|mail| mail::read(mail));
        let plain: String = mails.map(|mail| text(&part(&mail, "text/plain")["text"])).collect();
        let missing: Vec<usize> =
            (0..INCIDENTS).filter(|number| !plain.contains(&format!("fault {number}\n"))).collect();
        ensure(missing.is_empty(), || format!("not told: {missing:?}"))
    })
    .await;
}

#[tokio::test]
async fn a_mail_server_that_is_away_loses_nothing_and_keeps_the_order() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let mut server = MailServer::start(dir.path()).await;
    let cluster = node(json!({
        "smtp": {"host": "127.0.0.1", "port": server.port, "from": "watch@example.org"},
        "people": [{"name": "alice", "email": "alice@example.org"}],
        "pages": {"schedule": "primary"},
    }))
    .await;
    let node = &cluster.nodes[0];
    server.stop();
    for number in 0..3 {
        report(
            node,
            json!({"title": format!("fault {number}"), "dedup_key": format!("f{number}")}),
        )
        .await;
    }
    let over = json!({"action": "resolve", "dedup_key": "f1", "by": "alice"});
    http::post(&node.url("/v1/incidents"), &over).await.expect("resolved");
    eventually("it is tried in vain", SOON, async || {
        let all = http::get(&node.url("/v1/incidents?status=triggered")).await?;
        let attempts = all["incidents"][0]["pages"][0]["attempts"].as_u64().unwrap_or_default();
        ensure(attempts >= 3, || format!("{attempts} attempts"))
    })
    .await;
    server.start_again().await;
    // What is new overtakes nothing, though the others are in their pause: at most a minute.
    report(node, json!({"title": "fault 3", "dedup_key": "f3"})).await;
    for subject in ["[FIRING] fault 3", "[RESOLVED] fault 1"] {
        server.wait(&[subject], Duration::from_secs(90)).await;
    }
    let subjects: Vec<String> =
        server.mails().iter().map(|mail| text(&mail::read(mail)["subject"])).collect();
    let fired: Vec<&String> = subjects.iter().filter(|s| s.starts_with("[FIRING]")).collect();
    let in_order: Vec<String> = (0..4).map(|number| format!("[FIRING] fault {number}")).collect();
    assert_eq!(fired, in_order.iter().collect::<Vec<_>>());
    let place = |subject: &str| subjects.iter().position(|known| known == subject);
    assert!(place("[FIRING] fault 1") < place("[RESOLVED] fault 1"), "{subjects:?}");
    assert_eq!(subjects.len(), 5, "each once: {subjects:?}");
}

#[tokio::test]
async fn the_console_shows_an_incident_and_who_is_on_call() {
    let receiver = Receiver::start().await;
    let cluster = node(json!({
        "people": [{"name": "alice", "webhook": receiver.url("/alice")},
                   {"name": "bob", "webhook": receiver.url("/bob")}],
        "pages": {"schedule": "primary"},
    }))
    .await;
    let node = &cluster.nodes[0];
    let id = text(&report(node, json!({"title": "cellar <b>under water"})).await["id"]);
    let page = async || {
        let url = node.url(&format!("/incidents/{id}"));
        http::text(http::client().get(url)).await.expect("the page")
    };
    let home = http::text(http::client().get(node.url("/"))).await.expect("the console");
    assert!(home.contains("<b>alice</b> (primary)"), "{home}");
    assert!(home.contains(&format!("/runbooks/IncidentReported?INCIDENT={id}")), "{home}");
    let shown = page().await;
    for part in
        ["cellar &lt;b&gt;under water", "value=\"acknowledge\"", "opened by api", "value=\"alice\""]
    {
        assert!(shown.contains(part), "no {part} in {shown}");
    }
    assert!(!shown.contains("<script") && !shown.contains("<b>under"));
    let press = async |fields: &[(&str, &str)]| {
        let url = node.url(&format!("/incidents/{id}"));
        let answer = http::send(http::client().post(url).form(fields)).await.expect("an answer");
        (answer.0, answer.1)
    };
    for fields in [
        &[("action", "acknowledge"), ("by", "alice")][..],
        &[("action", "note"), ("by", "alice"), ("text", "pumping <now>")],
        &[("action", "add_responder"), ("by", "alice"), ("to", "bob")],
        &[("action", "snooze"), ("by", "alice"), ("minutes", "30")],
    ] {
        let (status, page) = press(fields).await;
        assert!(status.is_success(), "{fields:?}: {page}");
    }
    receiver.wait("/bob", 1, SOON).await;
    let shown = page().await;
    for part in ["pumping &lt;now&gt;", "Snoozed until", "Responders", "value=\"unacknowledge\""] {
        assert!(shown.contains(part), "no {part} in {shown}");
    }
    let (status, refused) =
        press(&[("action", "reassign"), ("by", "alice"), ("to", "nobody")]).await;
    assert!(status.is_client_error() && refused.contains("nobody"), "{status}: {refused}");
    // A person is told so on a page.
    let fields = [("action", "reassign"), ("by", "alice"), ("to", "no<body")];
    let asked = http::client().post(node.url(&format!("/incidents/{id}")));
    let asked = asked.header("accept", "text/html").form(&fields);
    let refused = http::send(asked).await.expect("an answer");
    assert_eq!(refused.0, StatusCode::BAD_REQUEST);
    let (back, said) = (format!("href=\"/incidents/{id}\""), &refused.1);
    assert!(said.contains("no&lt;body") && said.contains(&back), "{said}");
    let (status, _) = press(&[("action", "resolve"), ("by", "alice")]).await;
    assert!(status.is_success());
    assert_eq!(incident(node, &id).await["status"], "resolved");
    let duty = http::text(http::client().get(node.url("/oncall"))).await.expect("the page");
    assert!(duty.contains("<h2>primary</h2>") && duty.contains("Now <b>alice</b>"), "{duty}");
    assert!(
        duty.contains(" UTC\">") && (duty.contains(" CET<") || duty.contains(" CEST<")),
        "{duty}"
    );
    let (status, _) = http::any(Method::GET, &node.url("/incidents/absent"), None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}
