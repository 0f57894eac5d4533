//! Two clients in Python, one by gRPC and one by JSON with its streams: what they see of Watchkeep and of etcd is the same.

use std::{path::Path, process::Command};

use crate::common::{Cluster, etcd::Etcd};

/// What the script prints, which has to end well. Debian's packages are for Debian's own interpreter.
fn seen(endpoint: &str) -> String {
    let (host, port) = endpoint.rsplit_once(':').expect("host:port");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/etcd_clients.py");
    let output = Command::new("/usr/bin/python3").arg(script).args([host, port]).output();
    let output = output.expect("/usr/bin/python3");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{endpoint}: {said}; `cargo xtask peers` installs what it needs"
    );
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_in_another_language_see_an_etcd() {
    let cluster = Cluster::layout_roles(&["registry"], None, &[]).run().await;
    let etcd = Etcd::start(cluster.dir()).await;
    let expected = seen(&etcd.client);
    assert!(expected.lines().count() > 25, "{expected}");
    assert_eq!(seen(&cluster.nodes[0].client), expected);
}
