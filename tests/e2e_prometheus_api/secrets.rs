//! What is secret stays so: the configuration that `status/config` shows has no values of headers.

use serde_json::json;

use super::common::{Cluster, http};

#[tokio::test]
async fn the_configuration_is_shown_without_the_values_of_headers() {
    let nobody = "http://127.0.0.1:9";
    let collector = json!({"remote_write": [
        {"name": "long-term", "url": format!("{nobody}/write"), "headers": {"X-Tenant": "tiger-1"}},
    ]});
    let alerting = json!({"data_source": {
        "url": nobody, "headers": {"X-Scope-OrgID": "tiger-2"},
    }});
    let cluster = Cluster::start(1, &[("collector", collector), ("alerting", alerting)]).await;
    let answer =
        http::get(&cluster.nodes[0].url("/api/v1/status/config")).await.expect("an answer");
    let shown = answer["data"]["yaml"].as_str().expect("YAML");
    assert!(
        shown.contains("X-Tenant: <secret>") || shown.contains("X-Tenant: \"<secret>\""),
        "{shown}"
    );
    assert!(shown.contains("X-Scope-OrgID"), "{shown}");
    assert!(!shown.contains("tiger"), "{shown}");
}
