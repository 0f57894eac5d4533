//! Every rule that one value alone cannot break: the rooms' own and those between rooms.

use std::{fs, path::Path};

use url::Url;
use watchkeep_catalog::check_name;
use watchkeep_registry::open_to_all;

use watchkeep_alerting::rule::Expressions as _;

use super::file::{Config, Role};
use crate::dns::Domain;

/// What is wrong: the path of each field and the message.
pub(super) fn check(config: &Config) -> Vec<(String, String)> {
    let mut wrong = Vec::new();
    node(config, &mut wrong);
    listen(config, &mut wrong);
    dns(config, &mut wrong);
    registry(config, &mut wrong);
    if let Err(invalid) = config.collector.validate() {
        wrong.extend(invalid.into_iter().map(|i| (format!("collector.{}", i.path), i.message)));
    }
    if let Err(invalid) = config.alerting.validate() {
        wrong.extend(invalid.into_iter().map(|i| (format!("alerting.{}", i.path), i.message)));
    }
    for (path, expr) in config.alerting.failover_expressions() {
        if let Err(message) = config.promql().check(&expr) {
            wrong.push((format!("alerting.{path}"), message));
        }
    }
    let (opinions, points) = (config.alerting.opinions_min, config.collector.vantage_points);
    if points > 0 && usize::try_from(opinions).is_ok_and(|opinions| opinions > points) {
        let message = format!(
            "{opinions} opinions never come, since collector.vantage_points is {points}: give at most {points}"
        );
        wrong.push(("alerting.opinions_min".to_owned(), message));
    }
    wrong.extend(config.slo.validate().into_iter().map(|i| (format!("slo.{}", i.path), i.message)));
    let people = config.alerting.people.iter().map(|person| person.name.as_str());
    let known: Vec<_> =
        people.chain(config.alerting.receivers.iter().map(|r| r.name.as_str())).collect();
    for (at, report) in config.slo.reports.iter().enumerate() {
        for (to, name) in
            report.to.iter().enumerate().filter(|(_, name)| !known.contains(&name.as_str()))
        {
            let defined = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let message = format!("person or receiver {name:?} is not defined; defined: {defined}");
            wrong.push((format!("slo.reports[{at}].to[{to}]"), message));
        }
    }
    let query = config.query.validate();
    wrong.extend(query.into_iter().map(|(field, message)| (format!("query.{field}"), message)));
    telemetry(config, &mut wrong);
    wrong
}

fn telemetry(config: &Config, wrong: &mut Vec<(String, String)>) {
    let telemetry = &config.telemetry;
    if let Some(endpoint) = &telemetry.otlp_endpoint {
        http_url("telemetry.otlp_endpoint", endpoint, wrong);
        if endpoint.starts_with("https://") {
            let message = format!(
                "{endpoint:?}: https is not spoken: give the http:// address of an OpenTelemetry collector on this host, \
                 which passes it on"
            );
            wrong.push(("telemetry.otlp_endpoint".to_owned(), message));
        }
    }
    let mut refuse = |field: &str, message| wrong.push((format!("telemetry.{field}"), message));
    let ratio = telemetry.sampling_ratio;
    if !(0.0..=1.0).contains(&ratio) {
        let message = format!("{ratio} is not a share from 0 to 1: write 0.01 for 1 %");
        refuse("sampling_ratio", message);
    }
    if telemetry.otlp_metrics && telemetry.otlp_endpoint.is_none() {
        let message = "there is nowhere to send them: set telemetry.otlp_endpoint".to_owned();
        refuse("otlp_metrics", message);
    }
    let seconds = telemetry.otlp_metrics_interval_seconds;
    if !(1..=3_600).contains(&seconds) {
        refuse("otlp_metrics_interval_seconds", format!("is {seconds}: give 1 to 3600"));
    }
}

fn node(config: &Config, wrong: &mut Vec<(String, String)>) {
    let mut refuse = |path: &str, message: String| wrong.push((path.to_owned(), message));
    if let Err(error) = check_name("node", &config.node.name) {
        refuse("node.name", error.to_string());
    }
    if config.node.roles.is_empty() {
        refuse("node.roles", "empty: give one or more of registry, collector, alerting".to_owned());
    }
    for (at, role) in config.node.roles.iter().enumerate() {
        if config.node.roles[..at].contains(role) {
            refuse(&format!("node.roles[{at}]"), format!("{role} stands here twice: name it once"));
        }
    }
    if let Err(error) = writable(&config.node.data_dir) {
        let dir = config.node.data_dir.display();
        refuse(
            "node.data_dir",
            format!("{dir} cannot be written: {error}; give a writable directory"),
        );
    }
}

/// Whether the directory, or the closest parent that exists, can be written. Leaves nothing behind.
fn writable(dir: &Path) -> std::io::Result<()> {
    let mut at = dir;
    while !at.try_exists()? {
        at = match at.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
    }
    let probe = at.join(format!(".watchkeep-{}", std::process::id()));
    fs::File::create(&probe)?;
    fs::remove_file(probe)
}

fn listen(config: &Config, wrong: &mut Vec<(String, String)>) {
    let mut listeners = vec![("listen.http", config.listen.http)];
    if config.runs(Role::Registry) {
        listeners.insert(0, ("listen.client", config.listen.client));
        listeners.insert(1, ("listen.peer", config.listen.peer));
    }
    listeners.extend(config.listen.dns.map(|dns| ("listen.dns", dns)));
    for (at, (path, address)) in listeners.iter().enumerate() {
        if address.port() == 0 {
            let message = "port 0 is not allowed: others must know the port".to_owned();
            wrong.push(((*path).to_owned(), message));
            continue;
        }
        let clash = listeners[..at].iter().find(|(_, other)| {
            let same_ip = other.ip() == address.ip();
            let any = other.ip().is_unspecified() || address.ip().is_unspecified();
            other.port() == address.port() && (same_ip || any)
        });
        if let Some((other, _)) = clash {
            let message = format!("{address} is taken by {other}: give each its own port");
            wrong.push(((*path).to_owned(), message));
        }
    }
    match &config.external_url {
        Some(url) => http_url("external_url", url, wrong),
        None if config.listen.http.ip().is_unspecified() => {
            let message = format!(
                "others cannot reach {}: say in external_url how they reach this node, like http://10.0.0.1:{}",
                config.listen.http,
                config.listen.http.port()
            );
            wrong.push(("listen.http".to_owned(), message));
        }
        None => {}
    }
}

fn dns(config: &Config, wrong: &mut Vec<(String, String)>) {
    let mut refuse = |path: &str, message: String| wrong.push((path.to_owned(), message));
    if let Err(error) = config.dns.domain.parse::<Domain>() {
        refuse(
            "dns.domain",
            format!("{:?} is no domain: {error}; like watchkeep", config.dns.domain),
        );
    }
    let ttl = config.dns.ttl_seconds;
    if ttl > 86_400 {
        refuse("dns.ttl_seconds", format!("is {ttl}: give 0 to 86400"));
    }
}

fn registry(config: &Config, wrong: &mut Vec<(String, String)>) {
    for (at, endpoint) in config.registry.endpoints.iter().enumerate() {
        http_url(&format!("registry.endpoints[{at}]"), endpoint, wrong);
    }
    if let Some(url) = &config.registry.client_url {
        http_url("registry.client_url", url, wrong);
    }
    if config.registry.username.is_some() != config.registry.password_file.is_some() {
        let message = "username and password_file go together: set both or neither".to_owned();
        wrong.push(("registry.username".to_owned(), message));
    }
    if let (Err(error), Some(file)) = (config.credentials(), &config.registry.password_file) {
        let message =
            format!("{}: {error}; write the password of registry.username into it", file.display());
        wrong.push(("registry.password_file".to_owned(), message));
    }
    if let Some(Err((field, message))) = config.registry.client_tls.as_ref().map(|tls| tls.check())
    {
        wrong.push((format!("registry.client_tls.{field}"), message));
    }
    if !config.runs(Role::Registry) {
        if config.registry.endpoints.is_empty() {
            let message = "empty, and role registry does not run here: give the client URLs of the registry, \
                           like [http://10.0.0.1:2379]";
            wrong.push(("registry.endpoints".to_owned(), message.to_owned()));
        }
        return;
    }
    let settings = config.registry_config();
    let mut invalid = settings.validate().err().unwrap_or_default();
    // Where half of TLS is missing there is no use in reading the other half.
    if !invalid.iter().any(|i| i.path.starts_with("tls.") || i.path.starts_with("peer_tls.")) {
        invalid.extend(settings.check_files().err().unwrap_or_default());
    }
    wrong.extend(invalid.into_iter().map(|i| (registry_path(&i.path), i.message)));
    own_rooms(config, wrong);
}

/// What can be, and will most likely not do what is meant. `now_seconds` is Unix time.
pub(super) fn remarks(config: &Config, now_seconds: i64) -> Vec<(String, String)> {
    let own = config.registry.password_file.as_deref().and_then(open_to_all);
    let own = own.map(|message| ("registry.password_file".to_owned(), message));
    let own = own.into_iter().chain(web_remarks(config));
    if !config.runs(Role::Registry) {
        return own.collect();
    }
    let remarks = config.registry_config().remarks(now_seconds).into_iter();
    remarks.map(|i| (registry_path(&i.path), i.message)).chain(own).collect()
}

/// What the nodes need so that each gets in at the others' HTTP listeners, which demand what this one's does.
fn web_remarks(config: &Config) -> Vec<(String, String)> {
    let (demands, client) = (config.demands, &config.collector.http_client);
    let mut remarks = Vec::new();
    let mut remark = |path: &str, message: String| remarks.push((path.to_owned(), message));
    if let Some(open) = config.listen.http_web_config.as_deref().and_then(open_to_all) {
        remark("listen.http_web_config", open);
    }
    if demands.user && client.basic_auth.is_none() && client.authorization.is_none() {
        let message = "a user is demanded, and this node is none: its samples, and its scrapes of all nodes, are refused; say in \
                       collector.http_client.basic_auth who it is";
        remark("listen.http_web_config", message.to_owned());
    }
    if demands.user && !demands.tls && !config.listen.http.ip().is_loopback() {
        let message = "passwords come without TLS, so that everybody on the way can read them: add tls_server_config, or keep \
                       listen.http on 127.0.0.1 behind a proxy";
        remark("listen.http_web_config", message.to_owned());
    }
    let shows = client.tls_config.as_ref().is_some_and(|tls| tls.cert_file.is_some());
    if demands.certificate && !shows {
        let message = "a certificate is demanded, and this node shows none to the others: say in \
                       collector.http_client.tls_config which (cert_file, key_file)";
        remark("listen.http_web_config", message.to_owned());
    }
    if demands.tls && !config.url().starts_with("https://") {
        let url = config.url();
        let message =
            format!("{url:?}: the listener speaks TLS: write https, unless a proxy is there");
        remark("external_url", message);
    }
    remarks
}

/// A listener with TLS serves the rooms of its own process, too.
fn own_rooms(config: &Config, wrong: &mut Vec<(String, String)>) {
    let Some(tls) = &config.registry.tls else { return };
    let own = config.own_endpoint();
    if !config.registry.endpoints.contains(&own) {
        return;
    }
    let mut refuse = |path: &str, message: &str| wrong.push((path.to_owned(), message.to_owned()));
    match &config.registry.client_tls {
        None => refuse(
            "registry.tls",
            "this node connects to its own listener: say in registry.client_tls which authority (ca) it shall trust; \
             an empty one, {}, means the public authorities",
        ),
        Some(client) if tls.client_cert_auth && client.cert.is_none() => refuse(
            "registry.client_tls",
            "cert and key are missing: registry.tls.client_cert_auth demands a certificate, of this node's own rooms too",
        ),
        Some(_) => {}
    }
}

/// The registry's fields are spread over several sections of the file.
fn registry_path(path: &str) -> String {
    match path {
        "node_id" => "node.id".to_owned(),
        "name" => "node.name".to_owned(),
        "data_dir" => "node.data_dir".to_owned(),
        "client_listen" => "listen.client".to_owned(),
        "peer_listen" => "listen.peer".to_owned(),
        other => format!("registry.{other}"),
    }
}

fn http_url(path: &str, url: &str, wrong: &mut Vec<(String, String)>) {
    let problem = match Url::parse(url) {
        Ok(parsed) if !matches!(parsed.scheme(), "http" | "https") => {
            "scheme http or https is needed"
        }
        Ok(parsed) if parsed.host_str().is_none() => "a host is needed",
        Ok(_) => return,
        Err(_) => "this is not a URL",
    };
    wrong.push((path.to_owned(), format!("{url:?}: {problem}; write it as http://host:port")));
}
