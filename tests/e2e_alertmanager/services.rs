//! Slack, PagerDuty, Opsgenie, Discord and the others where they listen: the same requests as the real Alertmanager makes, and
//! secrets that are read from their files each time.

use std::{collections::BTreeMap, fs};

use axum::{Json, Router, http::HeaderMap, routing::post};
use serde_json::{Value, json};

use super::SOON;
use crate::common::{
    Cluster,
    alertmanager::{Alertmanager, amtool},
    eventually, http,
    receiver::{Received, Receiver},
    wait::ensure,
};

/// Words of a user: everything that is said comes from them, so it is to be the same to the letter.
/// Without `title`: Alertmanager 0.25 shares what it does that by between goroutines, and then says `a` for `A` now and then.
const WORDS: &str = r#"{{ define "what" }}{{ .Status | toUpper }} {{ .CommonLabels.alertname }} x{{ len .Alerts }}{{ end }}
{{ define "all" }}{{ range .Alerts }}{{ .Labels.instance | toUpper }}: {{ .Annotations.note | reReplaceAll "([a-z]+)=" "<$1> " }}; {{ end }}{{ .CommonLabels.SortedPairs.Values | join "/" }}{{ end }}
"#;

/// Receivers whose texts are all the user's own. `URL` is where they are.
const CONFIGURATION: &str = r##"
templates: [WORDS]
route: {receiver: all, group_by: [alertname], group_wait: 300ms, group_interval: 1s, repeat_interval: 1h}
receivers:
- name: all
  slack_configs:
  - api_url: URL/slack
    send_resolved: true
    channel: '#{{ .CommonLabels.alertname }}'
    username: watch
    icon_emoji: ':fire:'
    color: '{{ if eq .Status "firing" }}danger{{ else }}good{{ end }}'
    title: '{{ template "what" . }}'
    title_link: 'http://wiki/{{ .CommonLabels.alertname }}'
    pretext: '{{ .GroupLabels.alertname }}'
    text: '{{ template "all" . }}'
    fallback: '{{ template "what" . }}'
    callback_id: back
    footer: foot
    short_fields: true
    link_names: true
    fields:
    - {title: instance, value: '{{ .CommonLabels.instance }}'}
    - {title: long, value: 'x', short: false}
    actions:
    - {type: button, text: 'Look', url: 'http://wiki/', style: primary}
  pagerduty_configs:
  - url: URL/pagerduty
    routing_key: key
    client: watch
    client_url: http://watch/
    description: '{{ template "what" . }}'
    severity: '{{ if .CommonLabels.severity }}{{ .CommonLabels.severity }}{{ else }}error{{ end }}'
    class: a class
    component: '{{ .CommonLabels.instance }}'
    group: '{{ .GroupLabels.alertname }}'
    details: {firing: '{{ template "all" . }}', resolved: none, num_firing: '{{ .Alerts.Firing | len }}', num_resolved: '{{ .Alerts.Resolved | len }}', own: 'x'}
    images: [{src: 'http://a/b.png', alt: picture, href: 'http://a/'}]
    links: [{href: 'http://wiki/', text: '{{ .CommonLabels.alertname }}'}]
  opsgenie_configs:
  - api_url: URL/opsgenie/
    api_key: secret
    message: '{{ template "what" . }}'
    description: '{{ template "all" . }}'
    source: 'http://watch/'
    details: {own: '{{ .Status }}'}
    responders: [{name: ops, type: team}, {username: a@example.org, type: user}]
    tags: 'one, {{ .CommonLabels.severity }}'
    note: a note
    priority: P2
    entity: '{{ .CommonLabels.instance }}'
    actions: 'look,see'
  discord_configs:
  - webhook_url: URL/discord
    send_resolved: true
    title: '{{ template "what" . }}'
    message: '{{ template "all" . }}'
"##;

/// Without what says nothing: whether a field is empty or is not there is the same to these services.
fn telling(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| (name.clone(), telling(value)));
            Value::Object(fields.filter(|(_, value)| says_something(value)).collect())
        }
        Value::Array(list) => list.iter().map(telling).collect(),
        value => value.clone(),
    }
}

fn says_something(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        _ => true,
    }
}

/// What was said where, in order.
fn said(receiver: &Receiver) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for request in receiver.all() {
        let essence = json!([
            request.header("content-type").split(';').next(),
            request.header("authorization"),
            telling(&request.json()),
        ]);
        all.entry(request.path).or_default().push(essence.to_string());
    }
    all
}

#[tokio::test]
async fn services_are_told_the_same_as_by_alertmanager() {
    let (theirs, ours) = (Receiver::start().await, Receiver::start().await);
    let cluster = Cluster::layout(1, &[("alerting", json!({"alertmanager_config": "am.yml"}))]);
    let words = cluster.dir().join("words.tmpl");
    fs::write(&words, WORDS).expect("written");
    let configuration = CONFIGURATION.replace("WORDS", &words.display().to_string());
    fs::write(cluster.nodes[0].dir.join("am.yml"), configuration.replace("URL", &ours.url("")))
        .expect("written");
    let alertmanager =
        Alertmanager::start(cluster.dir(), &configuration.replace("URL", &theirs.url(""))).await;
    let cluster = cluster.run().await;
    cluster.alerting_leader().await;
    let both = [alertmanager.address.clone(), cluster.nodes[0].http.clone()];
    eventually("the API answers", SOON, async || {
        http::text(http::client().get(cluster.nodes[0].url("/api/v2/status"))).await
    })
    .await;
    let alert = |name: &str, instance: &str, ends: Option<&str>| {
        json!({"labels": {"alertname": name, "instance": instance, "severity": "warning"},
               "annotations": {"note": format!("größe=40 & <b> {instance}")}, "endsAt": ends})
    };
    let past = (chrono::Utc::now() - chrono::TimeDelta::seconds(1)).to_rfc3339();
    let steps = [
        json!([alert("Down", "a", None), alert("Down", "b", None), alert("Full", "c", None)]),
        json!([alert("Down", "a", Some(&past))]),
        json!([alert("Down", "b", Some(&past)), alert("Full", "c", Some(&past))]),
    ];
    for (step, body) in steps.iter().enumerate() {
        for address in &both {
            let post = http::client().post(format!("http://{address}/api/v2/alerts")).json(body);
            http::text(post).await.expect("it is taken");
        }
        // Of two groups, at first; then of one; then of two.
        let discord = [2, 3, 5][step];
        theirs.wait("/discord", discord, SOON).await;
        ours.wait("/discord", discord, SOON).await;
    }
    let kinds = ["/slack", "/pagerduty", "/opsgenie/v2/alerts", "/discord"];
    eventually("the same is said", SOON, async || {
        let (mut theirs, mut ours) = (said(&theirs), said(&ours));
        // Two groups are told in any order.
        theirs.values_mut().chain(ours.values_mut()).for_each(|all| all.sort_unstable());
        for kind in kinds {
            ensure(theirs.contains_key(kind), || format!("nothing at {kind}: {theirs:#?}"))?;
        }
        ensure(theirs == ours, || format!("theirs {theirs:#?}\nours {ours:#?}"))
    })
    .await;
    let closed = ours.all();
    let closed = closed.iter().filter(|r| r.path.contains("/close?identifierType=alias")).count();
    assert_eq!(closed, 2, "Opsgenie's alerts are closed");
}

/// Gives a token to whoever knows the secret of today: the token is the secret.
async fn tokens() -> String {
    async fn token(headers: HeaderMap) -> Json<Value> {
        let basic = headers.get("authorization").and_then(|value| value.to_str().ok());
        let basic = basic.and_then(|value| value.strip_prefix("Basic ")).unwrap_or_default();
        let (token, expires) = (format!("for-{}", basic.trim_end_matches('=')), 1);
        Json(json!({"access_token": token, "token_type": "bearer", "expires_in": expires}))
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let url = format!("http://{}/token", listener.local_addr().expect("address"));
    let router = Router::new().route("/token", post(token));
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

#[tokio::test]
async fn secrets_in_files_are_read_each_time_by_every_receiver() {
    let (receiver, tokens) = (Receiver::start().await, tokens().await);
    let secrets = tempfile::tempdir().expect("a folder");
    let file = |name: &str| secrets.path().join(name).display().to_string();
    let write = |generation: &str| {
        let put = |name: &str, content: String| fs::write(secrets.path().join(name), content);
        for name in ["slack", "discord", "teams"] {
            put(name, receiver.url(&format!("/{name}-{generation}"))).expect("written");
        }
        for name in ["pagerduty", "opsgenie", "telegram", "bearer", "client"] {
            put(name, format!("{name}-{generation}\n")).expect("written");
        }
    };
    write("one");
    let configuration = format!(
        r##"
route: {{receiver: all, group_by: [alertname], group_wait: 0s, group_interval: 1s}}
receivers:
- name: all
  slack_configs: [{{api_url_file: {slack}, channel: '#a'}}]
  pagerduty_configs: [{{url: '{url}/pagerduty', routing_key_file: {pagerduty}}}]
  opsgenie_configs: [{{api_url: '{url}/opsgenie/', api_key_file: {opsgenie}}}]
  telegram_configs: [{{api_url: '{url}', bot_token_file: {telegram}, chat_id: 7}}]
  discord_configs: [{{webhook_url_file: {discord}}}]
  msteamsv2_configs: [{{webhook_url_file: {teams}}}]
  webhook_configs:
  - url: {url}/bearer
    http_config: {{authorization: {{credentials_file: {bearer}}}}}
  - url: {url}/oauth2
    http_config: {{oauth2: {{client_id: watch, client_secret_file: {client}, token_url: '{tokens}'}}}}
"##,
        url = receiver.url(""),
        slack = file("slack"),
        pagerduty = file("pagerduty"),
        opsgenie = file("opsgenie"),
        telegram = file("telegram"),
        discord = file("discord"),
        teams = file("teams"),
        bearer = file("bearer"),
        client = file("client"),
    );
    let cluster = Cluster::layout(1, &[("alerting", json!({"alertmanager_config": "am.yml"}))]);
    fs::write(cluster.nodes[0].dir.join("am.yml"), configuration).expect("written");
    let cluster = cluster.run().await;
    cluster.alerting_leader().await;
    let at = cluster.nodes[0].http.clone();
    for (generation, number) in [("one", 1), ("two", 2)] {
        write(generation);
        // A token holds for a second.
        tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
        amtool(&at, &["alert", "add", &format!("Down{number}"), "instance=a"]);
        for path in [
            format!("/slack-{generation}"),
            format!("/discord-{generation}"),
            format!("/teams-{generation}"),
            format!("/bottelegram-{generation}/sendMessage"),
        ] {
            let told = receiver.wait(&path, 1, SOON).await;
            assert!(told[0].json().to_string().contains(&format!("Down{number}")), "{path}");
        }
        let last = async |path: &str| -> Received {
            receiver.wait(path, number, SOON).await.remove(number - 1)
        };
        let pagerduty = last("/pagerduty").await.json();
        assert_eq!(pagerduty["routing_key"], format!("pagerduty-{generation}"));
        let opsgenie = last("/opsgenie/v2/alerts").await;
        assert_eq!(opsgenie.header("authorization"), format!("GenieKey opsgenie-{generation}"));
        let bearer = last("/bearer").await;
        assert_eq!(bearer.header("authorization"), format!("Bearer bearer-{generation}"));
        let expected = base64(&format!("watch:client-{generation}"));
        let oauth2 = last("/oauth2").await;
        assert_eq!(oauth2.header("authorization"), format!("Bearer for-{expected}"));
    }
    // None of them is in a log or an answer.
    let log = fs::read_to_string(cluster.nodes[0].log()).expect("a log");
    let status = http::text(http::client().get(cluster.nodes[0].url("/api/v2/status"))).await;
    let status = status.expect("the status");
    for secret in ["pagerduty-one", "opsgenie-two", "telegram-one", "client-two", "bearer-one"] {
        assert!(!log.contains(secret) && !status.contains(secret), "{secret} can be read");
    }
}

fn base64(text: &str) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
    STANDARD_NO_PAD.encode(text)
}
