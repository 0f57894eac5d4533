//! Probes against real local sockets that behave well and badly.

use std::{future::Future, net::SocketAddr, sync::Arc};

use rustls::{ServerConfig, pki_types::PrivatePkcs8KeyDer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::target::TargetId;

pub(super) type Outcomes = Result<(), Box<dyn std::error::Error>>;

/// Long enough for anything that is going to happen.
pub(super) const LONG_MS: u64 = 10_000;
/// Short enough to wait for what never happens.
pub(super) const SHORT_MS: u64 = 150;

pub(super) fn target(port: u16, timeout_ms: u64, kind: &str) -> Target {
    let check = format!(r#"{{"name":"c","timeout_ms":{timeout_ms},{kind}}}"#);
    Target {
        id: TargetId::new("s", "i", "c"),
        address: "127.0.0.1".into(),
        port,
        check: Arc::new(serde_json::from_str(&check).expect("a check")),
    }
}

pub(super) fn context() -> Arc<Context> {
    Context::new(Policy::default(), Files::None).expect("roots")
}

pub(super) async fn probe(target: &Target) -> Outcome {
    Prober::new(target, &context()).expect("a good check").run().await
}

/// Serves every connection with `serve`; answers with the port.
pub(super) async fn serve<F, S>(serve: S) -> u16
where
    S: Fn(TcpStream) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    port
}

/// Reads a request's head, says `answer`, and closes.
pub(super) async fn say(mut stream: TcpStream, answer: Vec<u8>) {
    let _ = read_head(&mut stream).await;
    let _ = stream.write_all(&answer).await;
    let _ = stream.shutdown().await;
}

pub(super) async fn read_head<S: tokio::io::AsyncRead + Unpin>(stream: &mut S) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

pub(super) async fn answers(answer: &str) -> u16 {
    let answer = answer.as_bytes().to_vec();
    serve(move |stream| say(stream, answer.clone())).await
}

pub(super) async fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    listener.local_addr().expect("address").port()
}

#[tokio::test]
async fn what_http_answers_mean() {
    for (answer, http, good, reason) in [
        ("200 OK\r\ncontent-length: 2\r\n\r\nhi", "{}", true, "status 200"),
        ("204 No Content\r\n\r\n", "{}", true, "status 204"),
        ("500 Oh\r\n\r\n", "{}", false, "status 500, expected 200-299"),
        ("301 Go\r\nlocation: /x\r\n\r\n", "{}", false, "status 301, expected 200-299"),
        ("301 Go\r\nlocation: /x\r\n\r\n", r#"{"expected_status":[204,301]}"#, true, "status 301"),
        (
            "200 OK\r\n\r\n",
            r#"{"expected_status":[204,301]}"#,
            false,
            "status 200, expected 204, 301",
        ),
        ("200 OK\r\n\r\nall is well", r#"{"expected_body":"is w"}"#, true, "status 200"),
        (
            "200 OK\r\n\r\nall is well",
            r#"{"expected_body":"^is"}"#,
            false,
            "status 200, but the body (11 bytes) does not match \"^is\"",
        ),
        (
            "200 OK\r\ncontent-length: 9\r\n\r\nhalf",
            "{}",
            false,
            "the answer broke off: error reading a body from connection: connection closed",
        ),
    ] {
        let port = answers(&format!("HTTP/1.1 {answer}")).await;
        let outcome = probe(&target(port, LONG_MS, &format!(r#""http":{http}"#))).await;
        assert_eq!((outcome.good, outcome.reason.as_str()), (good, reason), "{answer} {http}");
    }
}

#[tokio::test]
async fn the_request_is_what_was_configured() {
    let (sender, mut heads) = tokio::sync::mpsc::unbounded_channel();
    let port = serve(move |mut stream| {
        let sender = sender.clone();
        async move {
            let _ = sender.send(read_head(&mut stream).await);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        }
    })
    .await;
    let http = r#""http":{"method":"HEAD","path":"/health?x=1","headers":{"x-a":"b"}}"#;
    assert!(probe(&target(port, LONG_MS, http)).await.good);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        heads.recv().await.expect("a request"),
        format!(
            "HEAD /health?x=1 HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nuser-agent: watchkeep/{version}\r\n\
             accept: */*\r\nconnection: close\r\nx-a: b\r\n\r\n"
        )
    );
    let http = r#""http":{"headers":{"Host":"web.example"}}"#;
    assert!(probe(&target(port, LONG_MS, http)).await.good);
    assert!(heads.recv().await.expect("a request").contains("\r\nhost: web.example\r\n"));
}

#[tokio::test]
async fn only_the_first_mebibyte_of_a_body_counts() {
    let port = serve(|mut stream| async move {
        let _ = read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nfirst").await;
        while stream.write_all(&[b'x'; 1 << 16]).await.is_ok() {}
    })
    .await;
    let first = target(port, LONG_MS, r#""http":{"expected_body":"^first"}"#);
    assert!(probe(&first).await.good);
    let other = target(port, LONG_MS, r#""http":{"expected_body":"y"}"#);
    let reason = probe(&other).await.reason;
    assert_eq!(reason, "status 200, but the body (1048576 bytes) does not match \"y\"");
}

#[tokio::test]
async fn silence_ends_with_the_timeout() {
    let mute = serve(|stream| async move {
        let _stream = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let drip = serve(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 99999\r\n\r\n").await;
        while stream.write_all(b".").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    for (port, kind, reason) in [
        (mute, r#""http":{}"#, "no answer within 150 ms".to_owned()),
        (drip, r#""http":{}"#, "no whole answer within 150 ms".to_owned()),
        (
            mute,
            r#""http":{"scheme":"https"}"#,
            format!("TLS with 127.0.0.1:{mute}: no answer within 150 ms"),
        ),
    ] {
        let outcome = probe(&target(port, SHORT_MS, kind)).await;
        assert_eq!((outcome.good, outcome.reason), (false, reason));
        assert!(outcome.duration >= Duration::from_millis(SHORT_MS));
    }
}

/// Linux drops connection requests to a full backlog: as good as a host that is gone.
#[tokio::test]
async fn a_connection_that_is_never_accepted() -> Outcomes {
    let socket = TcpSocket::new_v4()?;
    socket.bind("127.0.0.1:0".parse()?)?;
    let listener = socket.listen(1)?;
    let address: SocketAddr = listener.local_addr()?;
    let mut waiting = Vec::new();
    while let Ok(stream) =
        timeout(Duration::from_millis(SHORT_MS), TcpStream::connect(address)).await
    {
        waiting.push(stream?);
        assert!(waiting.len() < 100, "the backlog never fills");
    }
    for kind in [r#""tcp":{}"#, r#""http":{}"#] {
        let outcome = probe(&target(address.port(), SHORT_MS, kind)).await;
        assert_eq!(outcome.reason, format!("connect to {address}: no answer within 150 ms"));
    }
    Ok(())
}

#[tokio::test]
async fn connections_that_break() {
    let reset = serve(|mut stream| async move {
        let _ = read_head(&mut stream).await;
        let _ = stream.set_zero_linger();
    })
    .await;
    let refused = closed_port().await;
    let close = answers("").await;
    let garbage = answers("SSH-2.0-OpenSSH_9.2\r\n").await;
    for (port, kind, reason) in [
        (refused, r#""http":{}"#, format!("connect to 127.0.0.1:{refused}: connection refused")),
        (refused, r#""tcp":{}"#, format!("connect to 127.0.0.1:{refused}: connection refused")),
        (reset, r#""http":{}"#, "no answer: connection error: connection reset".to_owned()),
        (close, r#""http":{}"#, "no answer: connection closed before message completed".to_owned()),
        (garbage, r#""http":{}"#, "no answer: invalid HTTP version parsed".to_owned()),
    ] {
        let outcome = probe(&target(port, LONG_MS, kind)).await;
        assert_eq!((outcome.good, outcome.reason), (false, reason));
    }
    let mut nowhere = target(1, LONG_MS, r#""tcp":{}"#);
    nowhere.address = "a..b".into();
    let outcome = probe(&nowhere).await;
    assert!(outcome.reason.starts_with("resolve a..b: "), "{}", outcome.reason);
}

#[tokio::test]
async fn tcp_and_its_own_port() {
    let port = answers("").await;
    let outcome = probe(&target(1, LONG_MS, &format!(r#""tcp":{{"port":{port}}}"#))).await;
    assert_eq!((outcome.good, outcome.reason.as_str()), (true, "connected"));
    assert!(outcome.phases.connect > Duration::ZERO && outcome.phases.processing.is_zero());
}

#[tokio::test]
async fn tls_and_who_is_trusted() -> Outcomes {
    let made = rcgen::generate_simple_self_signed(["web.example".to_owned()])?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let port = serve(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let _ = read_head(&mut stream).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
            let _ = stream.shutdown().await;
        }
    })
    .await;
    let dir = tempfile::tempdir()?;
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, made.cert.pem())?;
    let ca = ca.display();
    let trusting = &format!(
        r#""http":{{"scheme":"https","headers":{{"host":"web.example"}},"tls":{{"ca_file":"{ca}"}}}}"#
    );
    let context = Context::new(Policy::default(), Files::Any)?;
    let named = r#""http":{"scheme":"https","headers":{"host":"web.example"}}"#;
    let other = &format!(r#""http":{{"scheme":"https","tls":{{"ca_file":"{ca}"}}}}"#);
    let plain = serve(|mut stream| async move {
        let _ = stream.write_all(b"220 mail.example ESMTP\r\n").await;
        let _ = read_head(&mut stream).await;
    })
    .await;
    for (port, http, reason) in [
        (port, trusting.as_str(), "status 200"),
        (port, other, "TLS with 127.0.0.1:PORT: invalid peer certificate: certificate not valid"),
        (port, named, "TLS with 127.0.0.1:PORT: invalid peer certificate: UnknownIssuer"),
        (plain, named, "TLS with 127.0.0.1:PORT: received corrupt message"),
    ] {
        let outcome = Prober::new(&target(port, LONG_MS, http), &context)?.run().await;
        let reason = reason.replace("PORT", &port.to_string());
        assert!(outcome.reason.starts_with(&reason), "{}", outcome.reason);
        assert!(outcome.phases.tls > Duration::ZERO);
    }
    Ok(())
}

#[test]
fn checks_that_can_never_succeed() {
    for (http, words) in [
        (r#"{"expected_body":"("}"#, "http.expected_body: regex parse error"),
        (r#"{"method":"GET /"}"#, "http.method \"GET /\": invalid HTTP method"),
        (r#"{"path":"/a b"}"#, "http.path \"/a b\": invalid uri character"),
        (r#"{"headers":{"a b":"c"}}"#, "http.headers: \"a b\" is not a header's name"),
        (r#"{"headers":{"a":"\n"}}"#, "http.headers.a: \"\\n\" is not allowed"),
    ] {
        let target = target(1, LONG_MS, &format!(r#""http":{http}"#));
        let reason = Prober::new(&target, &context()).expect_err(words);
        assert!(reason.starts_with(words), "{reason}");
    }
}
