//! What each receiver is sent, looked at where it arrives.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
};
use serde_json::{Value, json};

use super::*;
use crate::{
    alertmanager::{
        config::AlertmanagerConfig,
        fixtures::alert,
        tell::{Shown, Telling},
    },
    fixtures::time,
};
use watchkeep_catalog::{Notification, NotificationState};

pub(crate) type Seen = Arc<Mutex<Vec<(String, HeaderMap, Value)>>>;

/// A server that keeps what it is sent, and answers with this.
pub(crate) async fn sink(status: StatusCode) -> (String, Seen) {
    async fn keep(
        State((seen, status)): State<(Seen, StatusCode)>,
        uri: Uri,
        headers: HeaderMap,
        body: Bytes,
    ) -> (StatusCode, &'static str) {
        let body = serde_json::from_slice(&body).unwrap();
        seen.lock().unwrap().push((uri.to_string(), headers, body));
        (status, "{\"ok\": true}")
    }
    let (listener, seen) =
        (tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap(), Seen::default());
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(keep).with_state((Arc::clone(&seen), status));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, seen)
}

fn plan(receiver: Value) -> Arc<Plan> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config =
        json!({"route": {"receiver": "r", "group_by": ["alertname"]}, "receivers": [receiver]});
    let config: AlertmanagerConfig = serde_json::from_value(config).unwrap();
    config.validate().unwrap();
    Arc::new(Plan::new(config).unwrap())
}

fn telling(plan: &Plan, resolved: bool) -> Telling {
    let alert =
        Arc::new(alert(&[("alertname", "Down"), ("instance", "a")], 0, resolved.then_some(60)));
    let integration = Arc::clone(&plan.integrations("r")[0]);
    let fingerprint = alert.fingerprint();
    Telling {
        id: "id".to_owned(),
        group: 0,
        record: Notification {
            group_key: "{}:{alertname=\"Down\"}".to_owned(),
            receiver: "r".to_owned(),
            integration: integration.way.name().to_owned(),
            index: 0,
            sequence: 1,
            idempotency_key: "key-1".to_owned(),
            state: NotificationState::Pending,
            firing: vec![fingerprint],
            resolved: Vec::new(),
            decided_at: time(0),
            finished_at: None,
            repeat_seconds: 0,
        },
        integration,
        labels: [("alertname".to_owned(), "Down".to_owned())].into(),
        alerts: vec![Shown { fingerprint, alert, resolved }],
        deadline: time(3_600),
    }
}

/// Sends once by the receiver's only integration.
async fn send_once(plan: &Arc<Plan>, resolved: bool) -> Result<(), Failure> {
    let channels = Channels::new(plan, "http://alerts.example.org").unwrap();
    let telling = telling(plan, resolved);
    let payload = Payload::new(&telling, "http://alerts.example.org", None);
    let message = Message { telling: &telling, payload: &payload, words: &channels.words };
    let channel = &channels.by[&name(&telling.integration)];
    send(channel, &message, plan).await
}

#[tokio::test]
async fn each_service_gets_its_shape() {
    let (url, seen) = sink(StatusCode::OK).await;
    let hook = format!("{url}/hook");
    for (receiver, path, pointers) in [
        (
            json!({"webhook_configs": [{"url": hook}]}),
            "/hook",
            vec![
                ("/version", json!("4")),
                ("/status", json!("firing")),
                ("/alerts/0/endsAt", json!("0001-01-01T00:00:00Z")),
            ],
        ),
        (
            json!({"slack_configs": [{"api_url": hook, "channel": "#a"}]}),
            "/hook",
            vec![
                ("/channel", json!("#a")),
                ("/attachments/0/title", json!("[FIRING:1] Down (a)")),
                ("/attachments/0/color", json!("danger")),
            ],
        ),
        (
            json!({"pagerduty_configs": [{"url": hook, "routing_key": "k"}]}),
            "/hook",
            vec![
                ("/event_action", json!("trigger")),
                ("/routing_key", json!("k")),
                ("/payload/summary", json!("[FIRING:1] Down (a)")),
                ("/payload/custom_details/num_firing", json!("1")),
            ],
        ),
        (
            json!({"opsgenie_configs": [{"api_url": url, "api_key": "k", "tags": " a,b c,"}]}),
            "/v2/alerts",
            vec![
                ("/message", json!("[FIRING:1] Down (a)")),
                ("/tags", json!(["a", "b c"])),
                ("/details/instance", json!("a")),
            ],
        ),
        (
            json!({"telegram_configs": [{"api_url": url, "bot_token": "t", "chat_id": 7}]}),
            "/bott/sendMessage",
            vec![("/chat_id", json!(7)), ("/parse_mode", json!("HTML"))],
        ),
        (
            json!({"discord_configs": [{"webhook_url": hook}]}),
            "/hook",
            vec![
                ("/embeds/0/title", json!("[FIRING:1] Down (a)")),
                ("/embeds/0/color", json!(0x99_2d_22)),
            ],
        ),
        (
            json!({"msteamsv2_configs": [{"webhook_url": hook}]}),
            "/hook",
            vec![("/attachments/0/content/body/0/text", json!("[FIRING:1] Down (a)"))],
        ),
    ] {
        let mut receiver = receiver;
        receiver["name"] = json!("r");
        send_once(&plan(receiver.clone()), false)
            .await
            .unwrap_or_else(|e| panic!("{receiver}: {e:?}"));
        let (at, headers, body) = seen.lock().unwrap().pop().expect("a request");
        assert_eq!(at, path, "{receiver}");
        assert_eq!(headers["idempotency-key"], "key-1", "{receiver}");
        for (pointer, expected) in pointers {
            assert_eq!(body.pointer(pointer), Some(&expected), "{receiver}: {pointer} of {body:#}");
        }
    }
}

/// A storm: so many alerts with a long text each.
fn storm(plan: &Plan, alerts: usize) -> Telling {
    let one = |at: usize| {
        let mut alert = alert(&[("alertname", "Down"), ("instance", &at.to_string())], 0, None);
        alert.annotations.insert("summary".to_owned(), "x".repeat(1_000));
        let fingerprint = alert.fingerprint();
        Shown { fingerprint, alert: Arc::new(alert), resolved: false }
    };
    Telling { alerts: (0..alerts).map(one).collect(), ..telling(plan, false) }
}

#[tokio::test]
async fn a_storm_is_told_of_though_its_words_are_too_many() {
    let (url, seen) = sink(StatusCode::OK).await;
    let receiver = json!({"name": "r", "slack_configs": [{"api_url": url, "channel": "#a"}]});
    let plan = plan(receiver);
    let channels = Channels::new(&plan, "http://alerts.example.org").unwrap();
    let telling = storm(&plan, 2_000);
    let channel = &channels.by[&name(&telling.integration)];
    let mut payload = Payload::new(&telling, "http://alerts.example.org", None);
    let mut tries = 0;
    let sent = loop {
        tries += 1;
        let message = Message { telling: &telling, payload: &payload, words: &channels.words };
        match send(channel, &message, &plan).await {
            Err(Failure::TooMuch(_)) if payload.halve() => {}
            sent => break sent,
        }
    };
    assert_eq!((sent, tries, payload.alerts.len()), (Ok(()), 2, 1_000));
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn pagerduty_takes_no_large_events() {
    let (url, seen) = sink(StatusCode::ACCEPTED).await;
    let plan = plan(json!({"name": "r", "pagerduty_configs": [{"url": url, "routing_key": "k"}]}));
    let channels = Channels::new(&plan, "").unwrap();
    for (alerts, complete) in [(10, true), (700, false)] {
        let telling = storm(&plan, alerts);
        let payload = Payload::new(&telling, "", None);
        let message = Message { telling: &telling, payload: &payload, words: &channels.words };
        send(&channels.by[&name(&telling.integration)], &message, &plan).await.expect("taken");
        let (_, headers, body) = seen.lock().unwrap().pop().expect("an event");
        let length: usize = headers["content-length"].to_str().unwrap().parse().unwrap();
        assert!(length <= 512_000, "{length}");
        let details = &body["payload"]["custom_details"];
        assert_eq!(details.get("firing").is_some(), complete, "{alerts}");
        assert_eq!(body["payload"]["summary"], format!("[FIRING:{alerts}] Down"));
    }
}

#[tokio::test]
async fn what_is_over_is_resolved_under_the_same_key() {
    let (url, seen) = sink(StatusCode::ACCEPTED).await;
    let receiver = json!({"name": "r", "pagerduty_configs": [{"url": url, "routing_key": "k"}]});
    let plan = plan(receiver);
    for resolved in [false, true] {
        send_once(&plan, resolved).await.expect("it is taken");
    }
    let seen = seen.lock().unwrap();
    assert_eq!(seen[0].2["dedup_key"], seen[1].2["dedup_key"]);
    assert_eq!(
        (&seen[0].2["event_action"], &seen[1].2["event_action"]),
        (&json!("trigger"), &json!("resolve"))
    );
}

#[tokio::test]
async fn opsgenie_is_told_the_words_of_an_alert_that_is_there() {
    let (url, seen) = sink(StatusCode::ACCEPTED).await;
    let config = json!({"api_url": url, "api_key": "k", "update_alerts": true, "description": "d"});
    let plan = plan(json!({"name": "r", "opsgenie_configs": [config]}));
    send_once(&plan, false).await.expect("it is taken");
    let seen: Vec<_> = std::mem::take(&mut *seen.lock().unwrap());
    let alias = seen[0].2["alias"].as_str().unwrap().to_owned();
    let asked: Vec<_> = seen.iter().map(|(url, _, body)| (url.clone(), body.clone())).collect();
    let of = |field: &str| format!("/v2/alerts/{alias}/{field}?identifierType=alias");
    assert_eq!(asked[1], (of("message"), json!({"message": "[FIRING:1] Down (a)"})));
    assert_eq!(asked[2], (of("description"), json!({"description": "d"})));
    send_once(&plan, true).await.expect("it is taken");
}

#[tokio::test]
async fn who_refuses_is_not_asked_again_and_who_fails_is() {
    for (status, again) in [
        (StatusCode::BAD_REQUEST, false),
        (StatusCode::TOO_MANY_REQUESTS, true),
        (StatusCode::BAD_GATEWAY, true),
    ] {
        let (url, _) = sink(status).await;
        let plan = plan(json!({"name": "r", "webhook_configs": [{"url": url}]}));
        let failure = send_once(&plan, false).await.expect_err("it is refused");
        assert_eq!(matches!(failure, Failure::Again(_)), again, "{status}: {failure:?}");
    }
}

/// A receiver that takes each token twice, and the one that gives them: `t1`, `t2`, … to whoever knows the password.
#[tokio::test]
async fn a_token_is_kept_until_it_is_refused() {
    let uses: Arc<Mutex<Vec<String>>> = Arc::default();
    let given: Arc<Mutex<Vec<String>>> = Arc::default();
    let (seen, forms) = (Arc::clone(&uses), Arc::clone(&given));
    let token = move |headers: HeaderMap, body: String| async move {
        if headers["authorization"] != "Basic dTp0aWdlcg==" {
            return (StatusCode::UNAUTHORIZED, "who are you?".to_owned());
        }
        let mut forms = forms.lock().unwrap();
        forms.push(body);
        let number = forms.len();
        let answer =
            json!({"access_token": format!("t{number}"), "token_type": "bearer", "expires_in": 60});
        (StatusCode::OK, answer.to_string())
    };
    let hook = move |headers: HeaderMap| async move {
        let token = headers["authorization"].to_str().unwrap().to_owned();
        let mut seen = seen.lock().unwrap();
        seen.push(token.clone());
        let times = seen.iter().filter(|known| **known == token).count();
        if times > 2 { StatusCode::UNAUTHORIZED } else { StatusCode::OK }
    };
    let router = Router::new()
        .route("/token", axum::routing::post(token))
        .route("/hook", axum::routing::post(hook));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let receiver = |password: &str| {
        let oauth2 = json!({"client_id": "u", "client_secret": password, "token_url": format!("{url}/token"),
                            "scopes": ["a", "b"], "endpoint_params": {"audience": "x"}});
        let hook = format!("{url}/hook");
        plan(
            json!({"name": "r", "webhook_configs": [{"url": hook, "http_config": {"oauth2": oauth2}}]}),
        )
    };
    let plan = receiver("tiger");
    let channels = Channels::new(&plan, "http://w").unwrap();
    let telling = telling(&plan, false);
    let payload = Payload::new(&telling, "http://w", None);
    let message = Message { telling: &telling, payload: &payload, words: &channels.words };
    let channel = &channels.by[&name(&telling.integration)];
    for taken in [true, true, false, true] {
        let sent = send(channel, &message, &plan).await;
        assert_eq!(sent.is_ok(), taken, "{sent:?}");
        assert!(!matches!(sent, Err(Failure::Never(_))), "a new token may do");
    }
    assert_eq!(*uses.lock().unwrap(), ["Bearer t1", "Bearer t1", "Bearer t1", "Bearer t2"]);
    let form = "grant_type=client_credentials&scope=a+b&audience=x";
    assert_eq!(*given.lock().unwrap(), [form, form]);
    let refused = send_once(&receiver("lion"), false).await.expect_err("no token");
    let Failure::Again(text) = refused else { panic!("{refused:?}") };
    assert!(text.contains("no OAuth 2 token: answered 401 Unauthorized: who are you?"), "{text}");
}
