//! The client of an outside Prometheus against a scripted server: what it asks, what it tries again, what it refuses.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    extract::{Request, State},
    http::StatusCode,
};

use super::*;

/// What the server says, one after the other, the last for ever; and what it was asked: method, target, `Authorization`, body.
#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<Vec<(u16, &'static str)>>>,
    asked: Arc<Mutex<Vec<[String; 4]>>>,
}

async fn serve(State(script): State<Script>, request: Request) -> (StatusCode, &'static str) {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let header = |name| parts.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let asked = [
        parts.method.to_string(),
        parts.uri.to_string(),
        header("authorization").to_owned(),
        String::from_utf8_lossy(&body).into_owned(),
    ];
    script.asked.lock().unwrap().push(asked);
    let mut answers = script.answers.lock().unwrap();
    let (status, text) = if answers.len() > 1 { answers.remove(0) } else { answers[0] };
    (StatusCode::from_u16(status).unwrap(), text)
}

async fn source(answers: &[(u16, &'static str)]) -> (External, Script) {
    // Another test of this process may have installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let script = Script::default();
    *script.answers.lock().unwrap() = answers.to_vec();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/select/", listener.local_addr().unwrap());
    let router = Router::new().fallback(serve).with_state(script.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let config = DataSourceConfig {
        remote_write_url: Some(format!("{url}write")),
        url,
        min_backoff_ms: 1,
        max_backoff_ms: 2,
        ..DataSourceConfig::default()
    };
    (External::new(&config).unwrap(), script)
}

const SCALAR: &str =
    r#"{"status":"success","data":{"resultType":"scalar","result":[1.5,"+Inf"]},"warnings":["w"]}"#;

#[tokio::test]
async fn answers_of_every_type() {
    for (body, expected) in [
        (SCALAR, "Scalar(inf)"),
        (
            r#"{"status":"success","data":{"resultType":"string","result":[1,"x"]}}"#,
            r#"String("x")"#,
        ),
        (
            r#"{"data":{"result":[{"metric":{"a":"b"},"value":[1.234,"-1e-7"]},
                {"metric":{},"histogram":[2,{"count":"3"}]}],"resultType":"vector"},"status":"success","isPartial":false}"#,
            concat!(
                r#"Vector([VectorRow { labels: {"a": "b"}, timestamp_ms: 1234, value: Float(-1e-7) }, "#,
                r#"VectorRow { labels: {}, timestamp_ms: 2000, value: Histogram { text: "", native: None } }])"#
            ),
        ),
        (
            r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1,"NaN"]],"histograms":[[0.5,{}]]}]}}"#,
            "Matrix([MatrixRow { labels: {}, points: [(500, Histogram { text: \"\", native: None }), (1000, Float(NaN))] }])",
        ),
    ] {
        let (source, _) = source(&[(200, body)]).await;
        let answer = source.query("x", 1_500).await.unwrap();
        assert_eq!(format!("{:?}", answer.data), expected);
    }
}

#[tokio::test]
async fn errors_say_whose_fault_it_is() {
    let bad = r#"{"status":"error","errorType":"bad_data","error":"1:2: parse error"}"#;
    let execution = r#"{"status":"error","errorType":"execution","error":"many-to-many"}"#;
    let timeout = r#"{"status":"error","errorType":"timeout","error":"query timed out"}"#;
    let vm = r#"{"status":"error","errorType":"422","error":"cannot parse"}"#;
    for (answers, words, tries) in [
        (&[(400, bad)][..], "expression x: 1:2: parse error", 1),
        (&[(422, execution)], "x cannot be evaluated: many-to-many", 1),
        (&[(422, vm)], "x cannot be evaluated: cannot parse", 1),
        (&[(503, timeout)], "x: no answer within 30000 ms", 1),
        (&[(401, "who are you?")], "basic_auth or authorization say who asks): who are you?", 1),
        (&[(302, "")], "redirects are not followed", 1),
        (&[(200, "<html>")], "the answer is not that of Prometheus's query API", 1),
        (
            &[(502, "bad gateway")],
            "answered 502 Bad Gateway: bad gateway (tried again and again: 3)",
            3,
        ),
        (&[(503, ""), (429, ""), (400, bad)], "expression x", 3),
    ] {
        let (source, script) = source(answers).await;
        let error = source.query("x", 0).await.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
        assert_eq!(script.asked.lock().unwrap().len(), tries, "{words}");
    }
}

#[tokio::test]
async fn what_is_asked_and_how_often() {
    let (source, script) = source(&[(405, ""), (503, ""), (200, SCALAR)]).await;
    source.query_range("up{a=\"b c\"}", -1_500, 60_000, 250).await.unwrap();
    let form =
        "query=up%7Ba%3D%22b+c%22%7D&start=-1.500&end=60.000&step=0.250&nocache=1&timeout=30000ms";
    let asked = script.asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 3);
    let path = "/select/api/v1/query_range";
    assert_eq!(asked[0], ["POST", path, "", form]);
    assert_eq!(asked[2], ["GET", &format!("{path}?{form}"), "", ""]);
}

#[tokio::test]
async fn raw_samples_are_a_range_selector() {
    let body = r#"{"status":"success","data":{"resultType":"matrix","result":[
        {"metric":{"__name__":"up"},"values":[[0.999,"7"],[1,"1"],[2,"0"]]},{"metric":{"a":"b"},"values":[[0.5,"1"]]}]}}"#;
    let (source, script) = source(&[(200, body)]).await;
    let found = source.select("up", 1_000, 2_000).await.unwrap();
    let labels = [("__name__".to_owned(), "up".to_owned())].into();
    assert_eq!(found, [SeriesData { labels, samples: vec![(1_000, 1.0), (2_000, 0.0)] }]);
    assert!(script.asked.lock().unwrap()[0][3].starts_with("query=up%5B1001ms%5D&time=2.000&"));
}

#[tokio::test]
async fn recorded_series_are_written_until_they_are_taken() {
    let sample = |at| ([("__name__".to_owned(), "r".to_owned())].into(), at, 1.0);
    let (source, script) = source(&[(503, ""), (204, "")]).await;
    source.write(vec![sample(1), sample(2)]).await.unwrap();
    assert_eq!(script.asked.lock().unwrap().len(), 2);
    let (source, _) = self::source(&[(400, "out of order")]).await;
    let error = source.write(vec![sample(1)]).await.unwrap_err().to_string();
    let words = "1 recorded samples were not taken: ";
    assert!(
        error.starts_with(words) && error.ends_with("400 Bad Request: out of order"),
        "{error}"
    );
}

#[test]
fn settings_that_are_wrong_are_named() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "open sesame\n").unwrap();
    let auth = format!(r#","authorization":{{"credentials_file":{token:?}}}"#);
    for (more, field) in [
        (String::new(), None),
        (auth.clone(), None),
        (
            format!(r#"{auth},"basic_auth":{{"username":"u","password_file":"/absent"}}"#),
            Some("authorization"),
        ),
        (
            r#","basic_auth":{"username":"u","password_file":"/absent"}"#.to_owned(),
            Some("basic_auth.password_file"),
        ),
        (r#","timeout_ms":0"#.to_owned(), Some("timeout_ms")),
        (r#","max_backoff_ms":5"#.to_owned(), Some("max_backoff_ms")),
        (r#","headers":{"Host":"x"}"#.to_owned(), Some("headers.Host")),
        (r#","remote_write_url":"h:9090""#.to_owned(), Some("remote_write_url")),
        (r#","tls_config":{"ca_file":"/absent"}"#.to_owned(), Some("tls_config.ca_file")),
        (r#","tls_config":{"insecure_skip_verify":true,"min_version":"TLS13"}"#.to_owned(), None),
    ] {
        let text = format!(r#"{{"url":"https://h:9090/prometheus"{more}}}"#);
        let config: DataSourceConfig = serde_json::from_str(&text).unwrap();
        let wrong = config.check().err().map(|(field, _)| field);
        assert_eq!(wrong.as_deref(), field, "{text}");
    }
    for url in ["", "h:9090", "ftp://h", "http://u:p@h", "http://h/?a=b"] {
        let config = DataSourceConfig { url: url.to_owned(), ..DataSourceConfig::default() };
        assert_eq!(config.check().unwrap_err().0, "url", "{url}");
    }
}
