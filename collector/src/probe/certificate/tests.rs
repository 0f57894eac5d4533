//! The TLS probe against what is no TLS server; certificates are in `tls/tests.rs`.

use crate::probe::{
    Context, Files, Policy, Prober,
    rig::{self, DRIP, FLOOD, Pki, goes_on, resets, said},
    tests::{Outcomes, SHORT_MS, answers, closed_port, serve, target},
};

#[tokio::test]
async fn no_tls_server() -> Outcomes {
    let mute = serve(|stream| async move {
        let _stream = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let (closed, plain) = (closed_port().await, answers("").await);
    let context = Context::new(Policy::default(), Files::None)?;
    for (port, reason) in [
        (closed, format!("connect to 127.0.0.1:{closed}: connection refused")),
        (mute, format!("TLS with 127.0.0.1:{mute}: no answer within 150 ms")),
        (plain, format!("TLS with 127.0.0.1:{plain}: ")),
    ] {
        let outcome = Prober::new(&target(port, SHORT_MS, r#""tls":{}"#), &context)?.run().await;
        assert!(!outcome.good);
        assert!(outcome.reason.starts_with(&reason), "{}", outcome.reason);
    }
    Ok(())
}

#[tokio::test]
async fn handshakes_that_break() {
    // The head of a handshake's record of 16,000 bytes, which then comes by and by.
    let drips = goes_on(&[22, 3, 3, 0x3e, 0x80], &[0], DRIP).await;
    let banner = goes_on(b"SSH-2.0-OpenSSH_9.2\r\n", b"\r\n", DRIP).await;
    let endless = goes_on(b"", &[0; 4096], FLOOD).await;
    // Records that are well formed, and never a whole message: its length is 16 MiB.
    let records = goes_on(&[22, 3, 3, 0, 4, 2, 0xff, 0xff, 0xff], &[22, 3, 3, 0, 1, 0], FLOOD);
    let corrupt = "TLS with 127.0.0.1:PORT: received corrupt message of type ";
    for (port, ms, begin) in [
        (resets().await, rig::LONG_MS, "TLS with 127.0.0.1:PORT: connection reset"),
        (drips, rig::SHORT_MS, "TLS with 127.0.0.1:PORT: no answer within 200 ms"),
        (banner, rig::LONG_MS, corrupt),
        (endless, rig::LONG_MS, corrupt),
        (records.await, rig::LONG_MS, "TLS with 127.0.0.1:PORT: "),
    ] {
        let (good, reason) = said(port, ms, r#""tls":{}"#).await;
        assert!(!good && reason.starts_with(begin), "{reason}");
        assert!(!reason.contains("10000 ms"), "it goes on: {reason}");
    }
}

#[tokio::test]
async fn assertions() {
    let pki = Pki::new();
    let acceptor = pki.acceptor();
    let port = serve(move |stream| {
        let acceptor = acceptor.clone();
        async move { drop(acceptor.accept(stream).await) }
    })
    .await;
    for (assertion, good) in [
        // rcgen's certificates end in the year 4096.
        ("certificate.not_after - now > 14 * 86400", true),
        ("certificate.earliest_not_after == certificate.not_after", true),
        ("certificate.not_before < now && certificate.tls_version == 'TLS 1.3'", true),
        ("certificate.dns_names.exists(name, name == 'server.example')", true),
        ("certificate.subject == certificate.issuer && certificate.serial != ''", true),
        ("size(certificate.fingerprint_sha256) == 64", true),
        ("certificate.not_after - now > 5000 * 366 * 86400", false),
    ] {
        let check = format!(r#""assertions":[{assertion:?}],"tls":{{"tls":{}}}"#, pki.trust());
        let outcome = rig::probe(port, rig::LONG_MS, &check).await;
        assert_eq!(outcome.good, good, "{assertion}: {}", outcome.reason);
    }
}
