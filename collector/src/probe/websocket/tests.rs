//! The WebSocket probe against servers that behave well (tungstenite's) and badly.

use futures::{SinkExt, StreamExt};
use tokio::{
    io::AsyncWriteExt,
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
async fn talk(stream: TcpStream) {
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
