//! The WebSocket probe against servers that behave well (tungstenite's) and badly.

use futures::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_tungstenite::{
    accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{ErrorResponse, Request, Response},
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

use crate::probe::{
    Context, Files, Outcome, Policy, Prober,
    rig::{self, DRIP, FLOOD, Pki, free_port, go_on, mute, resets, said},
    tests::{LONG_MS, SHORT_MS, answers, read_head, serve, target},
};

async fn probe(port: u16, ms: u64, check: &str) -> Outcome {
    let context = Context::new(Policy::default(), Files::None).expect("TLS");
    let check = format!(r#""websocket":{check}"#);
    Prober::new(&target(port, ms, &check), &context).expect("a check").run().await
}

/// Chooses `chat` and knows one path.
#[expect(clippy::result_large_err, reason = "tungstenite asks for this shape")]
fn handshake(request: &Request, mut answer: Response) -> Result<Response, ErrorResponse> {
    if request.uri().path() != "/socket" {
        let mut refusal = ErrorResponse::new(None);
        *refusal.status_mut() = ::http::StatusCode::NOT_FOUND;
        return Err(refusal);
    }
    let offered = request.headers().get("sec-websocket-protocol");
    if offered.is_some_and(|offered| offered == "chat") {
        answer.headers_mut().insert("sec-websocket-protocol", "chat".parse().expect("a value"));
    }
    Ok(answer)
}

/// Greets, pings, and says back what it hears; `bye` ends it.
async fn talk<S: AsyncRead + AsyncWrite + Unpin>(stream: S) {
    let Ok(mut socket) = accept_hdr_async(stream, handshake).await else { return };
    let _ = socket.send(Message::text("welcome")).await;
    let _ = socket.send(Message::Ping("are you there".into())).await;
    while let Some(Ok(message)) = socket.next().await {
        let answer = match message {
            Message::Text(text) if text == "bye" => {
                let frame = CloseFrame { code: CloseCode::Policy, reason: "go away".into() };
                Message::Close(Some(frame))
            }
            Message::Text(text) => Message::text(format!("you said {text}")),
            Message::Pong(_) => Message::text("pong came"),
            _ => continue,
        };
        if socket.send(answer).await.is_err() {
            return;
        }
    }
}

async fn server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(talk(stream));
        }
    });
    port
}

#[tokio::test]
async fn handshakes_and_messages() {
    let port = server().await;
    let long = "x".repeat(70_000);
    for (check, reason) in [
        (r#"{"path":"/socket"}"#.to_owned(), "status 101"),
        (r#"{"path":"/socket","expect":"^welcome$"}"#.to_owned(), "status 101, message of 7 bytes"),
        (
            r#"{"path":"/socket","send":"hello","expect":"said hello$"}"#.to_owned(),
            "status 101, message of 14 bytes",
        ),
        (r#"{"path":"/socket","expect":"pong came"}"#.to_owned(), "status 101, message of 9 bytes"),
        (
            format!(r#"{{"path":"/socket","send":"{long}","expect":"^you said x"}}"#),
            "status 101, message of 70009 bytes",
        ),
        (r#"{"path":"/socket","protocols":["chat"]}"#.to_owned(), "status 101"),
        (
            r#"{"path":"/socket","protocols":["other"]}"#.to_owned(),
            "status 101, but it speaks \"\", expected one of other",
        ),
        (
            r#"{"path":"/socket","send":"bye","expect":"x"}"#.to_owned(),
            "it closed the WebSocket: 1008 go away",
        ),
        (r#"{"path":"/none"}"#.to_owned(), "status 404, expected 101"),
    ] {
        let outcome = probe(port, LONG_MS, &check).await;
        assert_eq!(outcome.reason, reason);
        let is_good = reason.starts_with("status 101") && !reason.contains("but");
        assert_eq!(outcome.good, is_good, "{check:.80}");
    }
}

#[tokio::test]
async fn servers_that_misbehave() {
    let garbage = answers("SSH-2.0-OpenSSH_9.2\r\n\r\n").await;
    let liar = answers("HTTP/1.1 101 Yes\r\nsec-websocket-accept: x\r\n\r\n").await;
    let endless = serve(|mut stream| async move {
        let _ = read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 101 Yes\r\n").await;
        while stream.write_all(b"x-a: b\r\n").await.is_ok() {}
    })
    .await;
    let mute = serve(|stream| async move {
        let _stream = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let closing = answers("").await;
    for (port, reason) in [
        (garbage, "no answer: \"SSH-2.0-OpenSSH_9.2\" is no HTTP"),
        (liar, "status 101, but its sec-websocket-accept does not fit our key"),
        (endless, "no answer: its head has more than 16384 bytes"),
        (mute, "no answer within 150 ms"),
        (closing, "no answer: connection closed"),
    ] {
        let outcome = probe(port, SHORT_MS, "{}").await;
        assert_eq!((outcome.reason.as_str(), outcome.good), (reason, false));
    }
    let late = probe(server().await, SHORT_MS, r#"{"path":"/socket","expect":"never"}"#).await;
    assert_eq!(late.reason, "no whole answer within 150 ms");
}

#[tokio::test]
async fn over_tls() {
    let pki = Pki::new();
    let acceptor = pki.acceptor();
    let port = serve(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                talk(stream).await;
            }
        }
    })
    .await;
    let check = |tls: &str| {
        format!(
            r#""websocket":{{"scheme":"wss","path":"/socket","expect":"^welcome$","tls":{tls}}}"#
        )
    };
    let outcome = rig::probe(port, rig::LONG_MS, &check(&pki.trust())).await;
    assert_eq!((outcome.good, &*outcome.reason), (true, "status 101, message of 7 bytes"));
    assert!(outcome.fact("probe_ssl_earliest_cert_expiry", &[]).is_some_and(|at| at > 1e9));
    assert!(outcome.phases.tls > std::time::Duration::ZERO);
    let other = pki.trust().replace('}', r#","server_name":"other.example"}"#);
    for (port, tls, begin) in [
        (port, "{}", "TLS with 127.0.0.1:PORT: invalid peer certificate: UnknownIssuer"),
        (port, &*other, "TLS with 127.0.0.1:PORT: invalid peer certificate: certificate not valid"),
        (resets().await, "{}", "TLS with 127.0.0.1:PORT: connection reset"),
        (mute().await, "{}", "TLS with 127.0.0.1:PORT: no answer within 200 ms"),
        // Its server speaks no TLS.
        (answers("SSH-2.0-OpenSSH_9.2\r\n\r\n").await, "{}", "TLS with 127.0.0.1:PORT: "),
    ] {
        let (good, reason) = said(port, rig::SHORT_MS, &check(tls)).await;
        assert!(!good && reason.starts_with(begin), "{reason}");
    }
}

/// Does the handshake, and gives the connection to `after`.
async fn shaken<F, A>(after: A) -> u16
where
    F: Future<Output = ()> + Send + 'static,
    A: Fn(TcpStream) -> F + Send + Sync + Copy + 'static,
{
    serve(move |stream| async move {
        if let Ok(socket) = accept_hdr_async(stream, handshake).await {
            after(socket.into_inner()).await;
        }
    })
    .await
}

#[tokio::test]
async fn connections_and_messages_that_break() {
    const PONG: &[u8] = &[0x8a, 0];
    let reset_after = shaken(|stream| async move {
        let _ = stream.set_zero_linger();
    });
    let messages = shaken(|stream| go_on(stream, b"", &[0x81, 2, b'n', b'o'], FLOOD));
    let pongs = shaken(|stream| go_on(stream, b"", PONG, FLOOD));
    // Of a message of 100 bytes one comes now and then.
    let drips = shaken(|stream| go_on(stream, &[0x81, 100], b".", DRIP));
    let parts = shaken(|stream| async move {
        let mut part = vec![0x00, 126, 0xff, 0xff];
        part.resize(4 + 0xffff, b'.');
        go_on(stream, &[0x01, 0], &part, FLOOD).await;
    });
    let huge = shaken(|stream| go_on(stream, &[0x82, 127, 0, 0, 1, 0, 0, 0, 0, 0], b".", DRIP));
    let check = r#""websocket":{"path":"/socket","expect":"^never$"}"#;
    for (port, ms, reason) in [
        (free_port(), rig::LONG_MS, "connect to 127.0.0.1:PORT: connection refused"),
        (resets().await, rig::LONG_MS, "no answer: connection reset"),
        (reset_after.await, rig::LONG_MS, "the connection broke: connection reset"),
        (messages.await, rig::LONG_MS, "none of the first 1000 messages matches \"^never$\""),
        (pongs.await, rig::LONG_MS, "no message within 10000 frames"),
        (drips.await, rig::SHORT_MS, "no whole answer within 200 ms"),
        (parts.await, rig::LONG_MS, "it sent a message of more than 1048576 bytes"),
        (huge.await, rig::LONG_MS, "it sent a message of more than 1048576 bytes"),
    ] {
        assert_eq!(said(port, ms, check).await, (false, reason.to_owned()));
    }
}

#[tokio::test]
async fn assertions() {
    let port = server().await;
    for (assertion, good) in [
        ("status == 101 && headers.upgrade == 'websocket' && message == 'welcome'", true),
        ("certificate == null && timings.transfer_ms >= 0.0", true),
        ("message == 'farewell'", false),
    ] {
        let check = format!(
            r#""assertions":[{assertion:?}],"websocket":{{"path":"/socket","expect":"welcome"}}"#
        );
        let outcome = rig::probe(port, rig::LONG_MS, &check).await;
        assert_eq!(outcome.good, good, "{assertion}: {}", outcome.reason);
    }
}
