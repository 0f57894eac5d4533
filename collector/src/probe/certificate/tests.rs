//! The TLS probe against what is no TLS server; certificates are in `tls/tests.rs`.

use crate::probe::{
    Context, Files, Policy, Prober,
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
