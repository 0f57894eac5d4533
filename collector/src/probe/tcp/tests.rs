//! Dialogues with real servers, and with such as do not keep to them.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::super::rig::{
    DRIP, LONG_MS, Pki, SHORT_MS, Server, free_port, go_on, mute, probe, prober, python, said,
    serve,
};

/// As an SMTP client greets, asks for TLS, greets again and leaves.
fn smtp(tls_config: &str) -> String {
    format!(
        r#""tcp":{{"tls_config":{tls_config},"query_response":[
            {{"expect":"^220 (\\S+) "}},
            {{"send":"EHLO probe.example"}},
            {{"expect":"^250-STARTTLS"}},
            {{"expect":"^250 ","send":"STARTTLS"}},
            {{"expect":"^220","starttls":true}},
            {{"send":"EHLO probe.example"}},
            {{"expect":"^250 ","send":"QUIT"}},
            {{"expect":"^221 "}}]}}"#
    )
}

#[tokio::test]
async fn smtp_with_starttls() {
    let (pki, port) = (Pki::new(), free_port());
    let at = format!("127.0.0.1:{port}");
    let (cert, key) = (pki.path("cert.pem"), pki.path("key.pem"));
    let _server = Server::start(
        &python().display().to_string(),
        &["-m", "aiosmtpd", "-n", "-l", &at, "--tlscert", &cert, "--tlskey", &key],
        port,
    );
    let outcome = probe(port, LONG_MS, &smtp(&pki.trust())).await;
    assert_eq!((outcome.good, outcome.reason.as_str()), (true, "connected, 8 steps"));
    assert_eq!(outcome.fact("probe_failed_due_to_regex", &[]), Some(0.0));
    assert_eq!(outcome.fact("probe_ip_protocol", &[]), Some(4.0));
    assert_eq!(
        outcome.fact("probe_tls_version_info", &["TLS 1.3"]),
        Some(1.0),
        "{:?}",
        outcome.facts
    );
    assert!(outcome.fact("probe_ssl_earliest_cert_expiry", &[]).is_some_and(|at| at > 1e9));
    assert!(outcome.phases.tls > Duration::ZERO && outcome.phases.processing > Duration::ZERO);

    for (settings, reason) in [
        ("{}".to_owned(), "TLS with 127.0.0.1:PORT: invalid peer certificate: UnknownIssuer"),
        (
            pki.trust().replace('}', r#","server_name":"other.example"}"#),
            "TLS with 127.0.0.1:PORT: invalid peer certificate: certificate not valid for name",
        ),
    ] {
        let (good, said) = said(port, LONG_MS, &smtp(&settings)).await;
        assert!(!good && said.starts_with(reason), "{said}");
    }
    let skipping = smtp(r#"{"insecure_skip_verify":true}"#);
    assert!(probe(port, LONG_MS, &skipping).await.good);
}

#[tokio::test]
async fn tls_from_the_start_with_openssl() {
    let (pki, port) = (Pki::new(), free_port());
    let accept = port.to_string();
    let (cert, key) = (pki.path("cert.pem"), pki.path("key.pem"));
    // It answers each line with the line reversed.
    let _server = Server::start(
        "openssl",
        &["s_server", "-quiet", "-rev", "-accept", &accept, "-cert", &cert, "-key", &key],
        port,
    );
    let tls = format!(r#""tls":true,"tls_config":{}"#, pki.trust());
    let (good, reason) = said(port, LONG_MS, &format!(r#""tcp":{{{tls}}}"#)).await;
    assert_eq!((good, reason.as_str()), (true, "connected with TLS"));
    // "ab cd" comes back as "dc ba", so the second line sent is "ba-dc".
    let steps =
        r#"[{"send":"ab cd"},{"expect":"^(..) (..)$","send":"${2}-$1"},{"expect":"^cd-ab$"}]"#;
    let kind = format!(r#""tcp":{{{tls},"query_response":{steps}}}"#);
    let (good, reason) = said(port, LONG_MS, &kind).await;
    assert_eq!((good, reason.as_str()), (true, "connected, 3 steps"));
    let old = tls.replace("\"ca_file\"", r#""max_version":"TLS12","ca_file""#);
    let outcome = probe(port, LONG_MS, &format!(r#""tcp":{{{old}}}"#)).await;
    assert_eq!(outcome.fact("probe_tls_version_info", &["TLS 1.2"]), Some(1.0));
    // Somebody who speaks no TLS is heard, but not understood.
    let (good, reason) =
        said(port, SHORT_MS, r#""tcp":{"query_response":[{"expect":"^220"}]}"#).await;
    assert_eq!((good, reason.as_str()), (false, "no answer within 200 ms"));
}

/// Says `text` and waits for more, or, with a last word of `<close>`, closes.
async fn says(text: &'static str) -> u16 {
    serve(move |mut stream: TcpStream| async move {
        let (said, close) = text.strip_suffix("<close>").map_or((text, false), |said| (said, true));
        let _ = stream.write_all(said.as_bytes()).await;
        if close {
            let _ = stream.shutdown().await;
        }
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await
}

#[tokio::test]
async fn ways_to_fail() {
    let expects = r#""tcp":{"query_response":[{"expect":"^220 (\\w+)","send":"${1}"}]}"#;
    let resets = serve(|stream: TcpStream| async move {
        let _ = stream.set_zero_linger();
    })
    .await;
    let drips = serve(|mut stream: TcpStream| async move {
        while stream.write_all(b"2").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let endless = |bytes: &'static [u8]| {
        serve(
            move |mut stream: TcpStream| async move { while stream.write_all(bytes).await.is_ok() {} },
        )
    };
    for (port, timeout_ms, kind, reason) in [
        (free_port(), LONG_MS, expects, "connect to 127.0.0.1:PORT: connection refused"),
        (resets, LONG_MS, expects, "step 1: connection reset"),
        (mute().await, SHORT_MS, expects, "no answer within 200 ms"),
        (
            mute().await,
            SHORT_MS,
            r#""tcp":{"tls":true}"#,
            "TLS with 127.0.0.1:PORT: no answer within 200 ms",
        ),
        (drips, SHORT_MS, expects, "no answer within 200 ms"),
        (
            endless(&[b'x'; 4096]).await,
            LONG_MS,
            expects,
            "step 1: a line is longer than 65536 bytes",
        ),
        (
            endless(b"more\nand more\nand more\n").await,
            LONG_MS,
            expects,
            "step 1: the answers are longer than 1048576 bytes",
        ),
        (
            says("SSH-2.0-OpenSSH_9.2\r\n<close>").await,
            LONG_MS,
            expects,
            "step 1: no line matches \"^220 (\\\\w+)\" until the connection is closed; the last is \"SSH-2.0-OpenSSH_9.2\"",
        ),
        (
            says("<close>").await,
            LONG_MS,
            expects,
            "step 1: no line matches \"^220 (\\\\w+)\" until the connection is closed; the last is nothing",
        ),
        (
            says("220 mail.example\r\n<close>").await,
            LONG_MS,
            r#""tcp":{"tls":true}"#,
            "TLS with 127.0.0.1:PORT: received corrupt message of type InvalidContentType",
        ),
    ] {
        let (good, said) = said(port, timeout_ms, kind).await;
        assert_eq!((good, said.as_str()), (false, reason), "{kind}");
    }
    let outcome = probe(says("221 bye\n<close>").await, LONG_MS, expects).await;
    assert_eq!(outcome.fact("probe_failed_due_to_regex", &[]), Some(1.0));
    assert!(probe(says("hello\n220 ok\n").await, LONG_MS, expects).await.good, "lines are skipped");
}

#[test]
fn steps_that_can_never_succeed() {
    let kind = r#""tcp":{"query_response":[{"send":"x"},{"expect":"("}]}"#;
    let error = prober(1, LONG_MS, kind).expect_err("a bad pattern");
    assert!(error.starts_with("tcp.query_response, step 2: expect: regex parse error"), "{error}");
}

/// Agrees to speak TLS, and then does as `then` says.
async fn agrees<F, T>(then: T) -> u16
where
    F: Future<Output = ()> + Send + 'static,
    T: Fn(TcpStream) -> F + Send + Sync + Copy + 'static,
{
    serve(move |mut stream: TcpStream| async move {
        let _ = stream.write_all(b"220 ready\r\n").await;
        let _ = stream.read_u8().await;
        then(stream).await;
    })
    .await
}

#[tokio::test]
async fn silence_and_worse_after_starttls() {
    let silent = agrees(|stream| async move {
        let _stream = stream;
        std::future::pending::<()>().await;
    });
    let drips = agrees(|stream| go_on(stream, &[22, 3, 3, 0x3e, 0x80], &[0], DRIP));
    let breaks = agrees(|stream| async move {
        let _ = stream.set_zero_linger();
    });
    let chats = agrees(|stream| go_on(stream, b"454 TLS not available\r\n", b"\r\n", DRIP));
    let kind = r#""tcp":{"query_response":[{"expect":"^220","send":"STARTTLS","starttls":true},{"send":"QUIT"}]}"#;
    for (port, ms, reason) in [
        (silent.await, SHORT_MS, "TLS with 127.0.0.1:PORT: no answer within 200 ms"),
        (drips.await, SHORT_MS, "TLS with 127.0.0.1:PORT: no answer within 200 ms"),
        (breaks.await, LONG_MS, "TLS with 127.0.0.1:PORT: connection reset"),
        (
            chats.await,
            LONG_MS,
            "TLS with 127.0.0.1:PORT: received corrupt message of type InvalidContentType",
        ),
    ] {
        assert_eq!(said(port, ms, kind).await, (false, reason.to_owned()));
    }
}
