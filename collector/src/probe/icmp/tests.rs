//! Echoes of this machine, and of nobody.
//!
//! Needs `CAP_NET_RAW`, or a group in `net.ipv4.ping_group_range`.

use super::super::rig::{LONG_MS, SHORT_MS, context, prober_at};
use crate::probe::Outcome;

async fn ping(address: &str, timeout_ms: u64, settings: &str) -> Outcome {
    let kind = format!(r#""icmp":{settings}"#);
    let prober = prober_at(address, 1, timeout_ms, &kind, &context());
    prober.expect("a good check").run().await
}

#[tokio::test]
async fn this_machine_echoes() {
    for (address, settings, bytes) in [
        ("127.0.0.1", "{}", 9),
        ("::1", "{}", 9),
        ("127.0.0.1", r#"{"payload_bytes":0}"#, 0),
        ("127.0.0.1", r#"{"payload_bytes":1400,"dont_fragment":true,"ttl":9}"#, 1400),
        ("::1", r#"{"payload_bytes":2000,"dont_fragment":true,"ttl":9}"#, 2000),
        // In parts, where the link takes no more than 65,536 bytes.
        ("127.0.0.1", r#"{"payload_bytes":65507,"ttl":1}"#, 65_507),
    ] {
        let outcome = ping(address, LONG_MS, settings).await;
        let reason = format!("{address} echoed {bytes} bytes");
        assert_eq!((outcome.good, &outcome.reason), (true, &reason), "{settings}");
        assert_eq!(outcome.fact("probe_icmp_reply_hop_limit", &[]), Some(64.0));
        assert!(outcome.fact("probe_icmp_duration_seconds", &["rtt"]).is_some_and(|s| s > 0.0));
        assert!(outcome.fact("probe_ip_protocol", &[]).is_some());
    }
}

#[tokio::test]
async fn many_at_once_are_not_mixed_up() {
    let context = context();
    let probes = (0..50).map(|n| {
        let kind = format!(r#""icmp":{{"payload_bytes":{n}}}"#);
        let prober = prober_at("127.0.0.1", 1, LONG_MS, &kind, &context).expect("a good check");
        async move { prober.run().await }
    });
    for (n, outcome) in futures::future::join_all(probes).await.into_iter().enumerate() {
        assert_eq!(outcome.reason, format!("127.0.0.1 echoed {n} bytes"));
    }
}

#[tokio::test]
async fn nobody_echoes() {
    // Class E: nobody has such an address (RFC 1112 §4).
    let outcome = ping("240.0.0.1", SHORT_MS, "{}").await;
    assert!(!outcome.good && outcome.reason.contains("no "), "{}", outcome.reason);
    assert_eq!(outcome.fact("probe_icmp_duration_seconds", &["rtt"]), Some(0.0));
    let outcome = ping("a..b", LONG_MS, "{}").await;
    assert!(outcome.reason.starts_with("resolve a..b: "), "{}", outcome.reason);
    // More than fits into a packet of the loopback's, and it may not be split.
    let big = r#"{"payload_bytes":65507,"dont_fragment":true}"#;
    let outcome = ping("127.0.0.1", LONG_MS, big).await;
    assert!(
        outcome.good || outcome.reason.starts_with("no request to 127.0.0.1: "),
        "{}",
        outcome.reason
    );
    let denied = ping("169.254.169.254", LONG_MS, "{}").await;
    assert!(denied.reason.starts_with("169.254.169.254 must not be probed"), "{}", denied.reason);
}
