//! What `watchkeep serve` says once it listens: what runs where, and what to try next.

use crate::{
    config::{Config, Role},
    out,
};

/// Prints it. The first line begins with `watchkeep` and the last is `ready`.
pub(crate) fn print(config: &Config) {
    lines(config).into_iter().for_each(out::line);
}

fn lines(config: &Config) -> Vec<String> {
    let roles: Vec<_> = config.node.roles.iter().map(ToString::to_string).collect();
    let (name, data) = (&config.node.name, config.node.data_dir.display());
    let http = config.url();
    let mut lines = vec![
        format!(
            "watchkeep {}: {name} runs {}; data in {data}",
            env!("CARGO_PKG_VERSION"),
            roles.join(", ")
        ),
        format!("  console       {http}/"),
        format!("  metrics       {http}/metrics"),
        format!("  dashboards    {http}/dashboards/"),
    ];
    if config.runs(Role::Alerting) {
        lines.push(format!("  SLO           {http}/v1/slo?format=html"));
    }
    if config.runs(Role::Registry) {
        lines.push(format!("  etcd v3 API   {} (gRPC and JSON)", config.own_endpoint()));
        lines.push(format!("  peers         {}", config.listen.peer));
    } else {
        lines.push(format!("  registry      {}", config.registry.endpoints.join(", ")));
    }
    if let Some(dns) = config.listen.dns {
        lines.push(format!("  DNS           {dns} (*.{})", config.dns.domain));
    }
    lines.push("try:".to_owned());
    if config.runs(Role::Registry) {
        lines.push(format!("  export ETCDCTL_API=3 {}", etcdctl(config)));
        lines.push("  etcdctl put greeting hello && etcdctl get greeting".to_owned());
    }
    lines.push(format!(
        "  curl -d '{{\"id\":\"web-1\",\"address\":\"127.0.0.1\",\"port\":8000,\"checks\":[{{\"name\":\"home\",\
         \"interval_ms\":1000,\"http\":{{}}}}]}}' {http}/v1/services/web/instances"
    ));
    lines.push(format!(
        "  python3 -m http.server 8000 & curl '{http}/v1/services/web/instances?healthy=true'"
    ));
    lines.push(
        "  watchkeep demo      # three nodes, a failover, a page, an election; about a minute"
            .to_owned(),
    );
    lines.push("ready".to_owned());
    lines
}

/// Where and how etcdctl connects, as its environment has it.
fn etcdctl(config: &Config) -> String {
    let endpoint = config.own_endpoint();
    if config.registry.tls.is_none() {
        return format!("ETCDCTL_ENDPOINTS={}", endpoint.trim_start_matches("http://"));
    }
    let tls = config.registry.client_tls.clone().unwrap_or_default();
    let mut text = format!("ETCDCTL_ENDPOINTS={endpoint}");
    for (name, file) in [("CACERT", tls.ca), ("CERT", tls.cert), ("KEY", tls.key)] {
        if let Some(file) = file {
            text.push_str(&format!(" ETCDCTL_{name}={}", file.display()));
        }
    }
    text
}
