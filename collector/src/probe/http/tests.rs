//! The HTTP probe against servers that behave well and badly: versions, redirects, proxies, secrets, bodies.

use std::{
    io::Write,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    response::{IntoResponse, Redirect, Response},
    routing::{any, get},
};
use tokio::{io::AsyncWriteExt, net::TcpListener};

use crate::probe::{
    Context, Files, Outcome, Policy, Prober,
    tests::{LONG_MS, Outcomes, SHORT_MS, answers, read_head, serve, target},
};

/// A prober that may use any file.
fn prober(port: u16, http: &str) -> Result<Prober, String> {
    prober_with(port, LONG_MS, &format!(r#""http":{http}"#), Policy::default())
}

fn prober_with(port: u16, ms: u64, check: &str, policy: Policy) -> Result<Prober, String> {
    let context = Context::new(policy, Files::Any).expect("TLS");
    Prober::new(&target(port, ms, check), &context)
}

async fn probe(port: u16, http: &str) -> Outcome {
    prober(port, http).expect("a good check").run().await
}

fn fact(outcome: &Outcome, name: &str) -> Option<f64> {
    outcome.facts.iter().find(|fact| fact.name == name).map(|fact| fact.value)
}

async fn app(router: Router) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    tokio::spawn(async move { axum::serve(listener, router).await });
    port
}

/// Answers with what was asked.
async fn echo(request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.expect("a body");
    let mut text = format!("{} {} {:?}\n", head.method, head.uri, head.version);
    for (name, value) in &head.headers {
        text.push_str(&format!("{name}: {}\n", value.to_str().unwrap_or("?")));
    }
    text.push_str(&String::from_utf8_lossy(&body));
    text.into_response()
}

async fn echoes() -> u16 {
    app(Router::new().fallback(any(echo))).await
}

#[tokio::test]
async fn requests_say_what_they_are_told() -> Outcomes {
    let port = echoes().await;
    let dir = tempfile::tempdir()?;
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let (body, token) = (file("body", "from a file"), file("token", "t0k3n\n"));
    for (http, pattern) in [
        (r#"{"method":"POST","body":"hello"}"#.to_owned(), "(?s)^POST.*content-length: 5\nhello$"),
        (format!(r#"{{"method":"PUT","body_file":"{body}"}}"#), "from a file$"),
        (
            format!(r#"{{"basic_auth":{{"username":"u","password":{{"file":"{token}"}}}}}}"#),
            "authorization: Basic dTp0MGszbg==\n",
        ),
        (
            format!(r#"{{"authorization":{{"credentials":{{"file":"{token}"}}}}}}"#),
            "authorization: Bearer t0k3n\n",
        ),
        (r#"{"version":"2"}"#.to_owned(), "HTTP/2.0\n"),
        (r#"{"compression":"identity"}"#.to_owned(), "accept-encoding: identity\n"),
    ] {
        let with = format!("{},\"expected_body\":{pattern:?}}}", &http[..http.len() - 1]);
        let outcome = probe(port, &with).await;
        assert!(outcome.good, "{with}: {}", outcome.reason);
    }
    // A token that changes is used as it is.
    let http = format!(
        r#"{{"authorization":{{"credentials":{{"file":"{token}"}}}},"expected_body":"Bearer new[e]r"}}"#
    );
    let prober = prober(port, &http)?;
    assert!(!prober.run().await.good);
    file("token", "newer");
    assert!(prober.run().await.good);
    // And no secret is ever shown.
    assert!(!format!("{prober:?}").contains("newer"), "{prober:?}");
    Ok(())
}

#[tokio::test]
async fn facts_are_there_whatever_happens() {
    let port = answers(
        "HTTP/1.1 404 No\r\ncontent-length: 2\r\nlast-modified: Thu, 01 Jan 1970 00:01:40 GMT\r\n\r\nhi",
    )
    .await;
    let outcome = probe(port, r#"{"expected_status":["4xx"]}"#).await;
    assert!(outcome.good, "{}", outcome.reason);
    for (name, value) in [
        ("probe_http_status_code", 404.0),
        ("probe_http_content_length", 2.0),
        ("probe_http_uncompressed_body_length", 2.0),
        ("probe_http_redirects", 0.0),
        ("probe_http_ssl", 0.0),
        ("probe_http_version", 1.1),
        ("probe_failed_due_to_regex", 0.0),
        ("probe_http_last_modified_timestamp_seconds", 100.0),
        ("probe_ip_protocol", 4.0),
        // FNV-1a of 127.0.0.1.
        ("probe_ip_addr_hash", 3_668_918_509.0),
    ] {
        assert_eq!(fact(&outcome, name), Some(value), "{name}");
    }
    let phases: Vec<_> =
        outcome.facts.iter().filter(|f| f.name == "probe_http_duration_seconds").collect();
    assert_eq!(phases.len(), 5);
    assert!(phases.iter().any(|f| f.labels[0].1 == "processing" && f.value > 0.0));

    let closed = crate::probe::tests::closed_port().await;
    let nothing = probe(closed, "{}").await;
    assert_eq!(fact(&nothing, "probe_http_status_code"), Some(0.0));
    let mute = serve(|stream| async move {
        let _stream = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let late = prober_with(mute, SHORT_MS, r#""http":{}"#, Policy::default()).expect("a check");
    let late = late.run().await;
    assert_eq!(fact(&late, "probe_http_status_code"), Some(0.0));
    let processing = late.facts.iter().find(|f| f.labels.iter().any(|l| l.1 == "processing"));
    assert!(processing.is_some_and(|f| f.value > 0.1), "{late:?}");
}

#[tokio::test]
async fn what_makes_an_answer_good() {
    let answer = "HTTP/1.1 200 OK\r\nx-a: one\r\nx-a: two\r\ncontent-length: 11\r\n\r\nall is well";
    for (http, regex, reason) in [
        (r#"{"expected_status":["3xx",201]}"#, 0.0, "status 200, expected 300-399, 201"),
        (r#"{"expected_versions":["HTTP/2.0"]}"#, 0.0, "HTTP/1.1, expected HTTP/2.0"),
        (r#"{"expected_versions":["HTTP/1.1"]}"#, 0.0, "status 200"),
        (r#"{"fail_if_not_ssl":true}"#, 0.0, "it answers without TLS"),
        (r#"{"fail_if_ssl":true}"#, 0.0, "status 200"),
        (r#"{"body_must_match":["all","well$"]}"#, 0.0, "status 200"),
        (
            r#"{"body_must_match":["all","bad"]}"#,
            1.0,
            "status 200, but the body (11 bytes) does not match \"bad\"",
        ),
        (
            r#"{"body_must_not_match":["bad","is"]}"#,
            1.0,
            "status 200, but the body (11 bytes) matches \"is\"",
        ),
        (r#"{"headers_must_match":[{"header":"X-A","regexp":"^two$"}]}"#, 0.0, "status 200"),
        (
            r#"{"headers_must_match":[{"header":"X-A","regexp":"three"}]}"#,
            1.0,
            "status 200, but header x-a does not match \"three\"",
        ),
        (
            r#"{"headers_must_match":[{"header":"X-B","regexp":"."}]}"#,
            1.0,
            "status 200, but there is no header x-b",
        ),
        (
            r#"{"headers_must_match":[{"header":"X-B","regexp":".","allow_missing":true}]}"#,
            0.0,
            "status 200",
        ),
        (
            r#"{"headers_must_not_match":[{"header":"X-A","regexp":"one"}]}"#,
            1.0,
            "status 200, but header x-a matches \"one\"",
        ),
        (r#"{"body_bytes_max":11}"#, 0.0, "status 200"),
        (r#"{"body_bytes_max":10}"#, 0.0, "status 200, but the body has more than 10 bytes"),
    ] {
        let outcome = probe(answers(answer).await, http).await;
        assert_eq!((outcome.reason.as_str(), outcome.good), (reason, reason == "status 200"));
        assert_eq!(fact(&outcome, "probe_failed_due_to_regex"), Some(regex), "{http}");
    }
}

#[tokio::test]
async fn compressed_bodies() -> Outcomes {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(b"all is well")?;
    let gzip = gzip.finish()?;
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    bomb.write_all(&vec![b'x'; 8 << 20])?;
    let bomb = bomb.finish()?;
    let (bytes, bytes_of_bomb) = (gzip.len(), bomb.len());
    let router = Router::new()
        .route("/gzip", get(move || async move { gzip.clone() }))
        .route("/bomb", get(move || async move { bomb.clone() }))
        .route("/plain", get(|| async { "all is well" }));
    let port = app(router).await;
    let good = r#"{"path":"/gzip","compression":"gzip","expected_body":"^all is well$"}"#;
    let outcome = probe(port, good).await;
    assert!(outcome.good, "{}", outcome.reason);
    assert_eq!(fact(&outcome, "probe_http_content_length"), Some(bytes as f64));
    assert_eq!(fact(&outcome, "probe_http_uncompressed_body_length"), Some(11.0));
    let plain = probe(port, r#"{"path":"/plain","compression":"gzip"}"#).await;
    assert_eq!(plain.reason, "the body is not gzip: invalid gzip header");
    // What unfolds to 8 MiB is read no further than allowed.
    assert!(bytes_of_bomb < 100_000);
    let bomb = r#"{"path":"/bomb","compression":"gzip","body_bytes_max":100000}"#;
    let bomb = probe(port, bomb).await;
    assert_eq!(bomb.reason, "status 200, but the body has more than 100000 bytes");
    Ok(())
}

#[tokio::test]
async fn redirects() {
    let elsewhere = echoes().await;
    let router = Router::new()
        .route("/loop", any(|| async { Redirect::temporary("/loop") }))
        .route(
            "/away",
            any(
                move || async move { Redirect::to(&format!("http://localhost:{elsewhere}/there")) },
            ),
        )
        .route("/metadata", get(|| async { Redirect::to("http://169.254.169.254/latest") }))
        .route("/ftp", get(|| async { Redirect::to("ftp://web.example/") }))
        .route(
            "/cookie",
            get(|| async {
                (
                    [("set-cookie", "a=b; path=/"), ("location", "here")],
                    axum::http::StatusCode::FOUND,
                )
                    .into_response()
                    .map(|body: Body| body)
            }),
        )
        .route("/keep", any(|| async { Redirect::temporary("/here") }))
        .fallback(any(echo));
    let router = router.layer(axum::middleware::map_response(|mut answer: Response| async move {
        if answer.headers().contains_key("location") && answer.status().is_success() {
            *answer.status_mut() = axum::http::StatusCode::FOUND;
        }
        answer
    }));
    let port = app(router).await;
    for (http, redirects, reason) in [
        (r#"{"path":"/loop"}"#, 1.0, "status 307, expected 200-299"),
        (r#"{"path":"/loop","redirects_max":3}"#, 4.0, "more than 3 redirects, the last to /loop"),
        (
            r#"{"path":"/away","redirects_max":1,"method":"POST","body":"x","headers":{"authorization":"secret"},
                "body_must_match":["^GET /there"],"body_must_not_match":["secret","x$"]}"#,
            1.0,
            "status 200",
        ),
        (
            r#"{"path":"/keep","redirects_max":1,"method":"POST","body":"x","headers":{"authorization":"secret"},
                "body_must_match":["^POST /here","secret","x$"]}"#,
            1.0,
            "status 200",
        ),
        (
            r#"{"path":"/cookie","redirects_max":1,"expected_body":"cookie: a=b"}"#,
            1.0,
            "status 200",
        ),
        (
            r#"{"path":"/metadata","redirects_max":1}"#,
            1.0,
            "169.254.169.254 must not be probed: 169.254.0.0/16 is link-local or metadata; \
             collector.targets.allow may name it",
        ),
        (
            r#"{"path":"/ftp","redirects_max":1}"#,
            1.0,
            "redirect to \"ftp://web.example/\": ftp: is neither http nor https",
        ),
    ] {
        let outcome = probe(port, http).await;
        assert_eq!((outcome.reason.as_str(), outcome.good), (reason, reason == "status 200"));
        assert_eq!(fact(&outcome, "probe_http_redirects"), Some(redirects), "{http}");
    }
}

#[tokio::test]
async fn denied_targets_are_told_in_words() {
    let port = echoes().await;
    let deny = || Policy::new(&[], &["127.0.0.0/8".to_owned(), "::1".to_owned()]).expect("ranges");
    let reason = "127.0.0.1 must not be probed: collector.targets.deny has 127.0.0.0/8";
    for (check, reason) in [
        (r#""http":{}"#.to_owned(), reason.to_owned()),
        (r#""tcp":{}"#.to_owned(), reason.to_owned()),
        (format!(r#""http":{{"proxy":{{"url":"http://127.0.0.1:{port}"}}}}"#), reason.to_owned()),
    ] {
        let prober = prober_with(port, LONG_MS, &check, deny()).expect("a check");
        assert_eq!(prober.run().await.reason, reason);
    }
}

/// Reuse: one connection for many probes, and a connection that was closed meanwhile is no failure.
#[tokio::test]
async fn connections_are_reused() -> Outcomes {
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    let port = serve(move |mut stream| {
        counted.fetch_add(1, Ordering::Relaxed);
        async move {
            for _ in 0..2 {
                if read_head(&mut stream).await.is_empty() {
                    return;
                }
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                let _ = stream.write_all(answer).await;
            }
        }
    })
    .await;
    let reusing = prober_with(port, LONG_MS, r#""reuse":true,"http":{}"#, Policy::default())?;
    for expected in [1, 1, 2, 2, 3] {
        let outcome = reusing.run().await;
        assert!(outcome.good, "{}", outcome.reason);
        assert_eq!(connections.load(Ordering::Relaxed), expected);
        assert_eq!(fact(&outcome, "probe_ip_protocol"), Some(4.0));
    }
    connections.store(0, Ordering::Relaxed);
    let fresh = prober(port, "{}")?;
    for expected in [1, 2] {
        assert!(fresh.run().await.good);
        assert_eq!(connections.load(Ordering::Relaxed), expected);
    }
    let two = prober_with(
        echoes().await,
        LONG_MS,
        r#""reuse":true,"http":{"version":"2"}"#,
        Policy::default(),
    )?;
    for _ in 0..3 {
        let outcome = two.run().await;
        assert!(outcome.good, "{}", outcome.reason);
        assert_eq!(fact(&outcome, "probe_http_version"), Some(2.0));
    }
    Ok(())
}

#[tokio::test]
async fn proxies() -> Outcomes {
    let origin = echoes().await;
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = asked.clone();
    // Plain requests are answered by itself; tunnels lead to the origin.
    let proxy = serve(move |mut stream| {
        let heard = heard.clone();
        async move {
            let head = read_head(&mut stream).await;
            let is_tunnel = head.starts_with("CONNECT");
            let refused = head.contains("refuse: me");
            heard.lock().expect("a list").push(head);
            if refused {
                let _ = stream.write_all(b"HTTP/1.1 407 Who are you\r\n\r\n").await;
            } else if is_tunnel {
                let _ = stream.write_all(b"HTTP/1.1 200 Go on\r\n\r\n").await;
                let mut there =
                    tokio::net::TcpStream::connect(("127.0.0.1", origin)).await.expect("origin");
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut there).await;
            } else {
                let _ = stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nthe proxy")
                    .await;
            }
        }
    })
    .await;
    let via = |more: &str| {
        format!(
            r#""proxy":{{"url":"http://127.0.0.1:{proxy}","username":"u","connect_headers":{{{more}}}}}"#
        )
    };
    let plain = format!(r#"{{{},"expected_body":"the proxy"}}"#, via(""));
    let outcome = probe(origin, &plain).await;
    assert!(outcome.good, "{}", outcome.reason);
    let head = asked.lock().expect("a list").pop().expect("a request");
    assert!(head.starts_with(&format!("GET http://127.0.0.1:{origin}/ HTTP/1.1\r\n")), "{head}");
    assert!(head.contains("proxy-authorization: Basic dTo=\r\n"), "{head}");

    // The origin speaks no TLS: the tunnel was made all the same.
    let tunnel = format!(r#"{{"scheme":"https",{}}}"#, via(r#""x-a":"b""#));
    let outcome = probe(origin, &tunnel).await;
    assert!(outcome.reason.starts_with("TLS with 127.0.0.1"), "{}", outcome.reason);
    let head = asked.lock().expect("a list").pop().expect("a request");
    assert!(head.starts_with(&format!("CONNECT 127.0.0.1:{origin} HTTP/1.1\r\n")), "{head}");
    assert!(head.contains("x-a: b\r\n") && head.contains("proxy-authorization"), "{head}");

    let refused = format!(r#"{{"scheme":"https",{}}}"#, via(r#""refuse":"me""#));
    let outcome = probe(origin, &refused).await;
    let words =
        format!("proxy 127.0.0.1:{proxy}: CONNECT 127.0.0.1:{origin}: HTTP/1.1 407 Who are you");
    assert_eq!(outcome.reason, words);

    let direct = format!(
        r#"{{"proxy":{{"url":"http://127.0.0.1:{proxy}","no_proxy":["127.0.0.1"]}},"expected_body":"^GET / "}}"#
    );
    assert!(probe(origin, &direct).await.good);
    let gone = crate::probe::tests::closed_port().await;
    let outcome =
        probe(origin, &format!(r#"{{"proxy":{{"url":"http://127.0.0.1:{gone}"}}}}"#)).await;
    assert_eq!(outcome.reason, format!("proxy: connect to 127.0.0.1:{gone}: connection refused"));
    Ok(())
}

#[tokio::test]
async fn oauth2_tokens_are_kept() -> Outcomes {
    let port = echoes().await;
    let fetched = Arc::new(AtomicUsize::new(0));
    let count = fetched.clone();
    let router = Router::new()
        .route(
            "/token",
            axum::routing::post(move |request: Request| {
                let count = count.clone();
                async move {
                    let basic = request.headers().get("authorization").cloned();
                    let body =
                        axum::body::to_bytes(request.into_body(), 1 << 16).await.expect("a form");
                    if body != "grant_type=client_credentials&scope=a+b&audience=x" {
                        return format!("unexpected {body:?}").into_response();
                    }
                    // base64 of me:s3cret
                    if basic.is_none_or(|b| b != "Basic bWU6czNjcmV0") {
                        return axum::http::StatusCode::UNAUTHORIZED.into_response();
                    }
                    let n = count.fetch_add(1, Ordering::Relaxed);
                    format!(
                        r#"{{"access_token":"token-{n}","token_type":"bearer","expires_in":3600}}"#
                    )
                    .into_response()
                }
            }),
        )
        .route("/words", axum::routing::post(|| async { "access_token=secret" }));
    let server = app(router).await;
    let dir = tempfile::tempdir()?;
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "s3cret\n")?;
    let oauth2 = |path: &str| {
        format!(
            r#"{{"expected_body":"Bearer token-[0]","oauth2":{{"client_id":"me","client_secret":{{"file":"{}"}},
                "token_url":"http://127.0.0.1:{server}{path}","scopes":["a","b"],"endpoint_params":{{"audience":"x"}}}}}}"#,
            secret.display()
        )
    };
    let kept = prober(port, &oauth2("/token"))?;
    for _ in 0..3 {
        let outcome = kept.run().await;
        assert!(outcome.good, "{}", outcome.reason);
    }
    assert_eq!(fetched.load(Ordering::Relaxed), 1);
    assert!(!format!("{kept:?}").contains("token-0"));
    let outcome = probe(port, &oauth2("/words")).await;
    let words =
        format!("token from 127.0.0.1:{server}: the answer is no JSON with an access_token");
    assert_eq!(outcome.reason, words);
    // A server that would not have the token is asked with a new one.
    let router = Router::new().fallback(any(|| async { axum::http::StatusCode::UNAUTHORIZED }));
    let strict = prober(app(router).await, &oauth2("/token"))?;
    for _ in 0..2 {
        assert_eq!(strict.run().await.reason, "status 401, expected 200-299");
    }
    assert_eq!(fetched.load(Ordering::Relaxed), 3);
    Ok(())
}

#[tokio::test]
async fn unix_sockets() -> Outcomes {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("web.sock");
    let listener = tokio::net::UnixListener::bind(&path)?;
    tokio::spawn(async move {
        axum::serve(listener, Router::new().fallback(any(|| async { "over a socket" }))).await
    });
    let check = format!(
        r#""http":{{"unix_socket":{:?},"expected_body":"over a socket"}}"#,
        path.display().to_string()
    );
    let allowed = || Policy::new(&[dir.path().display().to_string()], &[]).expect("a directory");
    let outcome = prober_with(1, LONG_MS, &check, allowed())?.run().await;
    assert!(outcome.good, "{}", outcome.reason);
    let denied = prober_with(1, LONG_MS, &check, Policy::default()).expect_err("not allowed");
    assert!(denied.ends_with("collector.targets.allow may name its directory"), "{denied}");
    let gone = check.replace("web.sock", "gone.sock");
    let outcome = prober_with(1, LONG_MS, &gone, allowed())?.run().await;
    assert!(outcome.reason.contains("gone.sock: No such file"), "{}", outcome.reason);
    Ok(())
}

#[test]
fn files_and_variables_are_not_for_everybody() -> Outcomes {
    let dir = tempfile::tempdir()?;
    std::fs::write(dir.path().join("token"), "t")?;
    std::os::unix::fs::symlink("/etc/passwd", dir.path().join("link"))?;
    let below = Files::Below(dir.path().to_owned());
    for (files, secret, words) in [
        (Files::None, r#"{"file":"token"}"#, "this collector uses no files"),
        (below.clone(), r#"{"file":"/etc/passwd"}"#, "it is not below collector.files_dir"),
        (below.clone(), r#"{"file":"../../etc/passwd"}"#, "http.authorization.credentials"),
        (below.clone(), r#"{"file":"link"}"#, "it is not below collector.files_dir"),
        (below.clone(), r#"{"file":"none"}"#, "No such file"),
        (below.clone(), r#"{"env":"PATH"}"#, "does not begin with WATCHKEEP_SECRET_"),
        (below.clone(), r#"{"env":"WATCHKEEP_SECRET_NONE"}"#, "not found"),
        (below, r#"{"file":"token"}"#, ""),
    ] {
        let context = Context::new(Policy::default(), files)?;
        let check = format!(r#""http":{{"authorization":{{"credentials":{secret}}}}}"#);
        match Prober::new(&target(1, LONG_MS, &check), &context) {
            Ok(_) => assert_eq!(words, "", "{secret}"),
            Err(said) => assert!(!words.is_empty() && said.contains(words), "{secret}: {said}"),
        }
    }
    Ok(())
}

#[tokio::test]
async fn assertions() -> Outcomes {
    let answer = "HTTP/1.1 200 OK\r\nx-a: one\r\nx-a: two\r\ncontent-length: 19\r\n\r\n{\"ok\":true,\"n\": 41}";
    let port = answers(answer).await;
    for (text, words) in [
        ("status == 200 && json.ok && json.n + 1 == 42", "status 200"),
        ("headers['x-a'] == 'one, two' && version == 'HTTP/1.1'", "status 200"),
        ("body.contains('ok') && certificate == null", "status 200"),
        ("timings.processing_ms > 0.0 && duration_ms < 10000.0 && now > 1700000000", "status 200"),
        ("json.n > 100", "assertion failed: json.n > 100"),
        ("json.other == 1", "assertion json.other == 1: No such key: other"),
    ] {
        let check = format!(r#""assertions":["status < 300",{text:?}],"http":{{}}"#);
        let outcome = prober_with(port, LONG_MS, &check, Policy::default())?.run().await;
        assert_eq!((outcome.reason.as_str(), outcome.good), (words, words == "status 200"));
    }
    let check = r#""assertions":["stats == 1"],"http":{}"#;
    let said = prober_with(port, LONG_MS, check, Policy::default()).expect_err("no such variable");
    assert!(said.starts_with("assertions[0] \"stats == 1\": there is no variable stats"), "{said}");
    Ok(())
}

#[tokio::test]
async fn a_socket_that_only_accepts() -> Outcomes {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("web.sock");
    let check = format!(r#""unix":{{"path":{:?}}}"#, path.display().to_string());
    let allowed = || Policy::new(&[dir.path().display().to_string()], &[]).expect("a directory");
    let prober = prober_with(1, LONG_MS, &check, allowed())?;
    assert!(prober.run().await.reason.starts_with("connect to "));
    let _listener = tokio::net::UnixListener::bind(&path)?;
    assert_eq!(prober.run().await.reason, "connected");
    assert!(prober_with(1, LONG_MS, &check, Policy::default()).is_err());
    Ok(())
}
