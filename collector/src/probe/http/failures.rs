//! Heads without end, and connections that break where HTTP has more than one: proxies, servers of tokens, TLS, redirects,
//! and the frames of version 2.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::probe::rig::{
    DRIP, FLOOD, LONG_MS, Pki, SHORT_MS, free_port, goes_on, mute, probe, resets, said, serve,
};

/// A head whose body comes in chunks.
const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

/// A frame of HTTP/2: kind, flags, stream, and what it says.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, stream];
    frame.extend_from_slice(payload);
    frame
}

/// Hears a request of version 2, and says these frames; the last again and again if `endless`.
async fn two(frames: Vec<Vec<u8>>, endless: bool) -> u16 {
    serve(move |mut stream: TcpStream| {
        let frames = frames.clone();
        async move {
            let _ = stream.write_all(&frame(4, 0, 0, &[])).await;
            // The preface, settings and the request.
            let (mut heard, mut buffer) = (0, [0; 1024]);
            while heard < 100 {
                match stream.read(&mut buffer).await {
                    Ok(length) if length > 0 => heard += length,
                    _ => return,
                }
            }
            for frame in &frames {
                let _ = stream.write_all(frame).await;
            }
            let last = frames.last().cloned().unwrap_or_default();
            while endless && stream.write_all(&last).await.is_ok() {}
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    })
    .await
}

#[tokio::test]
async fn heads_that_drip_or_have_no_end() {
    let head = b"HTTP/1.1 200 OK\r\nx-a: ";
    let drips = goes_on(head, b"a", DRIP).await;
    let long = goes_on(head, &[b'a'; 4096], FLOOD).await;
    let many = goes_on(b"HTTP/1.1 200 OK\r\n", b"x-a: b\r\n", FLOOD).await;
    // Chunks whose lengths go on and on: some are too large soon, and zeros never.
    let large = goes_on(CHUNKED, b"f", FLOOD).await;
    let zeros = goes_on(CHUNKED, &[b'0'; 4096], FLOOD).await;
    let (begin, more) = (frame(1, 0, 1, &[0x88]), frame(9, 0, 1, &[0x40, 1, b'a', 1, b'b']));
    let continued = two(vec![begin, more], true).await;
    let version_2 = r#""http":{"version":"2"}"#;
    for (port, ms, kind, begin) in [
        (drips, SHORT_MS, r#""http":{}"#, "no answer within 200 ms"),
        (long, LONG_MS, r#""http":{}"#, "no answer: message head is too large"),
        (many, LONG_MS, r#""http":{}"#, "no answer: message head is too large"),
        (large, LONG_MS, r#""http":{}"#, "the answer broke off: "),
        (zeros, SHORT_MS, r#""http":{}"#, "no whole answer within 200 ms"),
        (continued, LONG_MS, version_2, "no answer: "),
    ] {
        let (good, reason) = said(port, ms, kind).await;
        assert!(!good && reason.starts_with(begin), "{begin}: {reason}");
        assert!(!reason.contains("10000 ms"), "it goes on: {reason}");
    }
}

#[tokio::test]
async fn frames_that_end_it() {
    let goaway = |code: u8| frame(7, 0, 0, &[0, 0, 0, 0, 0, 0, 0, code]);
    let reset = |code: u8| frame(3, 0, 1, &[0, 0, 0, code]);
    let head = frame(1, 4, 1, &[0x88]);
    let data = frame(0, 0, 1, b"half");
    let version_2 = r#""http":{"version":"2"}"#;
    for (frames, begin, words) in [
        (vec![goaway(0)], "no answer: ", "http2 error"),
        (vec![goaway(2)], "no answer: ", "http2 error"),
        (vec![reset(7)], "no answer: ", "refused"),
        (vec![reset(2)], "no answer: ", "internal error"),
        (vec![head.clone(), data.clone(), reset(2)], "the answer broke off: ", "internal error"),
        (vec![head, data, goaway(2)], "the answer broke off: ", ""),
        // DATA that nobody asked for.
        (vec![frame(0, 0, 9, b"x")], "no answer: ", "protocol error"),
    ] {
        let (good, reason) = said(two(frames.clone(), false).await, LONG_MS, version_2).await;
        assert!(
            !good && reason.starts_with(begin) && reason.contains(words),
            "{frames:?}: {reason}"
        );
    }
}

/// Who is waited for is named, and not the target that has nothing to do with it.
#[tokio::test]
async fn what_stands_between_breaks() {
    let silent = mute().await;
    let broken = resets().await;
    let gone = free_port();
    let target = mute().await;
    let proxy = |port: u16, more: &str| {
        format!(r#""http":{{"proxy":{{"url":"http://127.0.0.1:{port}"}}{more}}}"#)
    };
    let https = r#","scheme":"https""#;
    let token = |port: u16| {
        format!(
            r#""http":{{"oauth2":{{"client_id":"me","client_secret":{{"file":"SECRET"}},"token_url":"http://127.0.0.1:{port}/token"}}}}"#
        )
    };
    let redirects = serve(move |mut stream: TcpStream| async move {
        let _ = stream.read(&mut [0; 1024]).await;
        let answer = format!(
            "HTTP/1.1 302 Go\r\nlocation: https://127.0.0.1:{silent}/\r\ncontent-length: 0\r\n\r\n"
        );
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
    })
    .await;
    let tunnels = goes_on(b"HTTP/1.1 200 Go on\r\n\r\n", b"", Duration::from_secs(1)).await;
    let endless = goes_on(b"HTTP/1.1 200 Go on\r\n", b"x: y\r\n", FLOOD).await;
    let pki = Pki::new();
    let secret = pki.path("secret");
    std::fs::write(&secret, "s").expect("written");
    for (port, ms, kind, reason) in [
        (target, SHORT_MS, proxy(silent, ""), "no answer within 200 ms".to_owned()),
        (
            target,
            SHORT_MS,
            proxy(silent, https),
            format!("connect to proxy 127.0.0.1:{silent}: no answer within 200 ms"),
        ),
        (
            target,
            SHORT_MS,
            proxy(tunnels, https),
            "TLS with 127.0.0.1:PORT: no answer within 200 ms".to_owned(),
        ),
        (
            target,
            LONG_MS,
            proxy(broken, https),
            format!("proxy 127.0.0.1:{broken}: connection reset"),
        ),
        (
            target,
            LONG_MS,
            proxy(endless, https),
            format!("proxy 127.0.0.1:{endless}: its answer to CONNECT has no end"),
        ),
        (
            broken,
            LONG_MS,
            r#""http":{"scheme":"https"}"#.to_owned(),
            "TLS with 127.0.0.1:PORT: connection reset".to_owned(),
        ),
        (target, SHORT_MS, token(silent), "no OAuth 2.0 token within 200 ms".to_owned()),
        (
            target,
            LONG_MS,
            token(broken),
            format!("token from 127.0.0.1:{broken}: no answer: connection error: connection reset"),
        ),
        (
            target,
            LONG_MS,
            token(gone),
            format!("token from 127.0.0.1:{gone}: connect to 127.0.0.1:{gone}: connection refused"),
        ),
        (
            redirects,
            SHORT_MS,
            r#""http":{"redirects_max":1}"#.to_owned(),
            format!("TLS with 127.0.0.1:{silent}: no answer within 200 ms"),
        ),
    ] {
        let (good, said) = said(port, ms, &kind.replace("SECRET", &secret)).await;
        // The target's own port is left out; another's stands.
        assert_eq!((good, said), (false, reason), "{kind}");
    }
}

#[tokio::test]
async fn assertions_about_the_certificate() {
    let pki = Pki::new();
    let acceptor = pki.acceptor();
    let port = serve(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
            let _ = stream.shutdown().await;
        }
    })
    .await;
    for (assertion, good) in [
        ("certificate.not_after - now > 14 * 86400 && status == 200", true),
        ("certificate.not_after - now > 5000 * 366 * 86400", false),
        ("timings.tls_ms > 0.0 && json == null && body == ''", true),
    ] {
        let kind = format!(
            r#""assertions":[{assertion:?}],"http":{{"scheme":"https","tls":{}}}"#,
            pki.trust()
        );
        let outcome = probe(port, LONG_MS, &kind).await;
        assert_eq!(outcome.good, good, "{assertion}: {}", outcome.reason);
    }
}
