//! Where connections come from, and which are kept.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream, UdpSocket},
};
use tokio_stream::wrappers::TcpListenerStream;

use super::super::rig::{LONG_MS, prober, said, serve};

/// Relays each connection to `port`, and counts them.
async fn relay(port: u16, connections: Arc<AtomicUsize>) -> u16 {
    serve(move |mut stream| {
        connections.fetch_add(1, Ordering::Relaxed);
        async move {
            let mut origin = TcpStream::connect(("127.0.0.1", port)).await.expect("the origin");
            let _ = copy_bidirectional(&mut stream, &mut origin).await;
        }
    })
    .await
}

/// Probes several times, with and without reuse, through a relay to `port`.
async fn reuses(port: u16, kind: &str) {
    for (reuse, expected) in [("true", [1, 1, 1]), ("false", [1, 2, 3])] {
        let connections = Arc::new(AtomicUsize::new(0));
        let port = relay(port, connections.clone()).await;
        let check = format!(r#""reuse":{reuse},{kind}"#);
        let prober = prober(port, LONG_MS, &check).unwrap_or_else(|e| panic!("{check}: {e}"));
        for expected in expected {
            let outcome = prober.run().await;
            assert!(outcome.good, "{check}: {}", outcome.reason);
            assert_eq!(connections.load(Ordering::Relaxed), expected, "{check}");
            assert_eq!(outcome.fact("probe_ip_protocol", &[]), Some(4.0), "{check}");
        }
    }
}

#[tokio::test]
async fn grpc_keeps_its_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    let (_reporter, service) = tonic_health::server::health_reporter();
    let server = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    reuses(port, r#""grpc":{}"#).await;
}

/// A connection that the server has closed is no failure of the service.
#[tokio::test]
async fn a_kept_stream_that_was_closed_is_opened_anew() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    // A name server that answers two questions on each connection: the question itself, as an answer without records.
    let port = serve(move |mut stream: TcpStream| {
        counted.fetch_add(1, Ordering::Relaxed);
        async move {
            for _ in 0..2 {
                let Ok(length) = stream.read_u16().await else { return };
                let mut message = vec![0; length.into()];
                let _ = stream.read_exact(&mut message).await;
                message[2] |= 0x80;
                let _ = stream.write_u16(length).await;
                let _ = stream.write_all(&message).await;
            }
        }
    })
    .await;
    let check = r#""reuse":true,"dns":{"query_name":"example","query_type":"A","transport":"tcp"}"#;
    let prober = prober(port, LONG_MS, check).expect("a check");
    for expected in [1, 1, 2, 2, 3] {
        let outcome = prober.run().await;
        assert!(outcome.good, "{}", outcome.reason);
        assert_eq!(connections.load(Ordering::Relaxed), expected);
    }
}

#[tokio::test]
async fn probes_come_from_the_address_that_is_asked_for() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let heard = seen.clone();
    let port = serve(move |stream: TcpStream| {
        heard.lock().expect("lock").push(stream.peer_addr().expect("a peer").ip().to_string());
        async {}
    })
    .await;
    let from = r#""source_ip_address":"127.0.0.5""#;
    assert!(said(port, LONG_MS, &format!(r#"{from},"tcp":{{}}"#)).await.0);
    // What it answers is of no use: that it was asked is what counts.
    let _ = said(port, LONG_MS, &format!(r#"{from},"http":{{}}"#)).await;
    assert_eq!(*seen.lock().expect("lock"), ["127.0.0.5", "127.0.0.5"]);
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("bind");
    let port = socket.local_addr().expect("address").port();
    let dns = format!(r#"{from},"dns":{{"query_name":"example","query_type":"A"}}"#);
    let asking = said(port, 200, &dns);
    let mut bytes = [0; 512];
    let (received, _) = tokio::join!(socket.recv_from(&mut bytes), asking);
    assert_eq!(received.expect("a question").1.ip().to_string(), "127.0.0.5");
    let (good, reason) = said(port, LONG_MS, r#""source_ip_address":"::1","tcp":{}"#).await;
    let expected = "source_ip_address ::1: 127.0.0.1 has no address of the same protocol";
    assert_eq!((good, reason.as_str()), (false, expected));
    let (good, reason) = said(port, LONG_MS, r#""source_ip_address":"192.0.2.1","tcp":{}"#).await;
    assert!(!good && reason.starts_with("connect to 127.0.0.1:PORT: "), "{reason}");
}
