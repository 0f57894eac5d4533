//! Health of real gRPC servers (tonic's, and etcd's in Go), and of such as are none.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic_health::ServingStatus;

use super::super::rig::{LONG_MS, Pki, SHORT_MS, Server, free_port, mute, probe, said, serve};

/// A server that is well, with service `up` that is, and `down` that is not.
async fn tonic() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    let (reporter, service) = tonic_health::server::health_reporter();
    reporter.set_service_status("up", ServingStatus::Serving).await;
    reporter.set_service_status("down", ServingStatus::NotServing).await;
    let server = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(async move {
        // Watches the reporter's services as long as it lives.
        let _reporter = reporter;
        server.serve_with_incoming(TcpListenerStream::new(listener)).await
    });
    port
}

#[tokio::test]
async fn services_of_a_real_server() {
    let port = tonic().await;
    for (service, good, reason, code, status) in [
        ("", true, "the server is SERVING", 0.0, Some("SERVING")),
        ("up", true, "service \"up\" is SERVING", 0.0, Some("SERVING")),
        ("down", false, "service \"down\" is NOT_SERVING", 0.0, Some("NOT_SERVING")),
        ("none", false, "service \"none\": gRPC status 5: service not registered", 5.0, None),
    ] {
        let kind = format!(r#""grpc":{{"service":"{service}"}}"#);
        let outcome = probe(port, LONG_MS, &kind).await;
        assert_eq!((outcome.good, outcome.reason.as_str()), (good, reason));
        assert_eq!(outcome.fact("probe_grpc_status_code", &[]), Some(code));
        assert_eq!(outcome.fact("probe_grpc_ssl", &[]), Some(0.0));
        for name in super::SERVING_STATUS {
            let is = f64::from(u8::from(status == Some(name)));
            assert_eq!(outcome.fact("probe_grpc_healthcheck_response", &[name]), Some(is));
        }
        assert!(outcome.fact("probe_grpc_duration_seconds", &["check"]).is_some_and(|s| s > 0.0));
    }
}

/// etcd serves `grpc.health.v1` on its client port.
#[tokio::test]
async fn etcd_with_tls() {
    let (pki, port) = (Pki::new(), free_port());
    let client = format!("https://127.0.0.1:{port}");
    let peer = format!("http://127.0.0.1:{}", free_port());
    let _etcd = Server::start(
        "etcd",
        &[
            "--data-dir",
            &pki.path("data"),
            "--listen-client-urls",
            &client,
            "--advertise-client-urls",
            &client,
            "--cert-file",
            &pki.path("cert.pem"),
            "--key-file",
            &pki.path("key.pem"),
            "--listen-peer-urls",
            &peer,
            "--initial-advertise-peer-urls",
            &peer,
            "--initial-cluster",
            &format!("default={peer}"),
            "--log-level",
            "error",
        ],
        port,
    );
    let kind = format!(r#""grpc":{{"tls":{}}}"#, pki.trust());
    let outcome = probe(port, LONG_MS, &kind).await;
    assert_eq!((outcome.good, outcome.reason.as_str()), (true, "the server is SERVING"));
    assert_eq!(outcome.fact("probe_grpc_ssl", &[]), Some(1.0));
    assert!(outcome.fact("probe_ssl_earliest_cert_expiry", &[]).is_some());
    let (good, reason) = said(port, LONG_MS, r#""grpc":{"tls":{}}"#).await;
    let unknown = "TLS with 127.0.0.1:PORT: invalid peer certificate: UnknownIssuer";
    assert_eq!((good, reason.as_str()), (false, unknown));
    let (good, reason) = said(port, LONG_MS, r#""grpc":{}"#).await;
    assert!(!good && reason.starts_with("no "), "plain to a port with TLS: {reason}");
}

#[tokio::test]
async fn ways_to_fail() {
    let resets = serve(|mut stream: TcpStream| async move {
        let _ = stream.read_u8().await;
        let _ = stream.set_zero_linger();
    })
    .await;
    let http1 = serve(|mut stream: TcpStream| async move {
        let _ = stream.read_u8().await;
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
        let _ = stream.shutdown().await;
    })
    .await;
    let drips = serve(|mut stream: TcpStream| async move {
        // One settings frame, a byte at a time.
        for byte in [0, 0, 0, 4, 0, 0, 0, 0, 0].into_iter().cycle() {
            if stream.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    for (port, timeout_ms, kind, reason) in [
        (free_port(), LONG_MS, r#""grpc":{}"#, "connect to 127.0.0.1:PORT: connection refused"),
        (mute().await, SHORT_MS, r#""grpc":{}"#, "no answer within 200 ms"),
        (drips, SHORT_MS, r#""grpc":{}"#, "no answer within 200 ms"),
        (
            mute().await,
            SHORT_MS,
            r#""grpc":{"tls":{}}"#,
            "TLS with 127.0.0.1:PORT: no answer within 200 ms",
        ),
    ] {
        let (good, said) = said(port, timeout_ms, kind).await;
        assert_eq!((good, said.as_str()), (false, reason));
    }
    for port in [resets, http1] {
        let outcome = probe(port, LONG_MS, r#""grpc":{}"#).await;
        assert!(!outcome.good && outcome.reason.starts_with("no "), "{}", outcome.reason);
        assert_eq!(outcome.fact("probe_grpc_status_code", &[]), Some(14.0));
    }
}

#[tokio::test]
async fn an_http_2_server_without_grpc() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    let app = axum::Router::new().fallback(|| async { "hello" });
    tokio::spawn(async move { axum::serve(listener, app).await });
    let (good, reason) = said(port, LONG_MS, r#""grpc":{}"#).await;
    let expected = "no gRPC server: HTTP status 200, content type text/plain; charset=utf-8";
    assert_eq!((good, reason.as_str()), (false, expected));
}

#[tokio::test]
async fn an_answer_without_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    let endless = || async {
        let bytes = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![0_u8; 4096]));
        ([("content-type", "application/grpc")], axum::body::Body::from_stream(bytes))
    };
    let app = axum::Router::new().fallback(endless);
    tokio::spawn(async move { axum::serve(listener, app).await });
    let (good, reason) = said(port, LONG_MS, r#""grpc":{}"#).await;
    assert_eq!((good, reason.as_str()), (false, "the answer is longer than 65536 bytes"));
}

#[tokio::test]
async fn assertions() {
    let port = tonic().await;
    for (assertion, good) in [("grpc_status == 0", true), ("grpc_status == 5", false)] {
        let kind = format!(r#""assertions":[{assertion:?}],"grpc":{{"service":"up"}}"#);
        let outcome = probe(port, LONG_MS, &kind).await;
        assert_eq!(outcome.good, good, "{assertion}: {}", outcome.reason);
    }
}
