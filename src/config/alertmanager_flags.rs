//! Flags that unit files of Alertmanager have besides those that mean something here: each is taken and does nothing, or is
//! refused with what to do instead. So a unit file needs one changed word.

use clap::Args;

use super::file::{Config, LogFormat};

/// What Alertmanager is told beside its file, its address, its folder and its URL.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct AlertmanagerFlags {
    /// debug, info, warn or error, unless RUST_LOG says what is logged
    #[arg(long = "log.level", value_name = "LEVEL", value_parser = level)]
    level: Option<&'static str>,
    /// logfmt (text) or json, as telemetry.log_format
    #[arg(long = "log.format", value_name = "FORMAT", value_parser = format)]
    format: Option<LogFormat>,
    #[arg(long = "web.route-prefix", hide = true, value_parser = no_prefix)]
    route_prefix: Option<String>,
    #[arg(long = "data.retention", hide = true)]
    retention: Option<String>,
    #[arg(long = "data.maintenance-interval", hide = true)]
    maintenance_interval: Option<String>,
    #[arg(long = "web.ui-path", hide = true)]
    ui_path: Option<String>,
    #[arg(long = "web.systemd-socket", hide = true)]
    systemd_socket: bool,
    #[arg(long = "alerts.gc-interval", hide = true)]
    gc_interval: Option<String>,
    #[arg(long = "web.get-concurrency", hide = true)]
    get_concurrency: Option<String>,
    #[arg(long = "web.timeout", hide = true)]
    timeout: Option<String>,
    #[arg(long = "enable-feature", hide = true)]
    features: Vec<String>,
    #[arg(long = "cluster.listen-address", hide = true)]
    cluster_listen: Option<String>,
    #[arg(long = "cluster.allow-insecure-public-advertise-address-discovery", hide = true)]
    cluster_discovery: bool,
    #[arg(long = "cluster.advertise-address", hide = true)]
    cluster_advertise: Option<String>,
    #[arg(long = "cluster.peer", hide = true)]
    cluster_peers: Vec<String>,
    #[arg(long = "cluster.peer-timeout", hide = true)]
    cluster_peer_timeout: Option<String>,
    #[arg(long = "cluster.gossip-interval", hide = true)]
    cluster_gossip: Option<String>,
    #[arg(long = "cluster.pushpull-interval", hide = true)]
    cluster_pushpull: Option<String>,
    #[arg(long = "cluster.tcp-timeout", hide = true)]
    cluster_tcp_timeout: Option<String>,
    #[arg(long = "cluster.probe-timeout", hide = true)]
    cluster_probe_timeout: Option<String>,
    #[arg(long = "cluster.probe-interval", hide = true)]
    cluster_probe_interval: Option<String>,
    #[arg(long = "cluster.settle-timeout", hide = true)]
    cluster_settle_timeout: Option<String>,
    #[arg(long = "cluster.reconnect-interval", hide = true)]
    cluster_reconnect_interval: Option<String>,
    #[arg(long = "cluster.reconnect-timeout", hide = true)]
    cluster_reconnect_timeout: Option<String>,
    #[arg(long = "cluster.label", hide = true)]
    cluster_label: Option<String>,
    #[arg(long = "cluster.tls-config", hide = true)]
    cluster_tls: Option<String>,
}

/// What is logged at a level, as RUST_LOG says it.
fn level(text: &str) -> Result<&'static str, String> {
    match text {
        "debug" => Ok("info,watchkeep=debug"),
        "info" => Ok(crate::telemetry::LOGGED),
        "warn" => Ok("warn"),
        "error" => Ok("error"),
        _ => Err("write debug, info, warn or error".to_owned()),
    }
}

fn format(text: &str) -> Result<LogFormat, String> {
    match text {
        "logfmt" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("write logfmt or json".to_owned()),
    }
}

fn no_prefix(text: &str) -> Result<String, String> {
    match text {
        "" | "/" => Ok(text.to_owned()),
        _ => Err("the API has no prefix: let a proxy in front take it off, and say in --web.external-url what links begin with"
            .to_owned()),
    }
}

impl AlertmanagerFlags {
    /// What is to be logged, if a flag says so.
    pub(crate) fn logged(&self) -> Option<&'static str> {
        self.level
    }

    /// The form of log lines.
    pub(super) fn apply(&self, config: &mut Config) {
        if let Some(format) = self.format {
            config.telemetry.log_format = format;
        }
    }

    /// Flags that cannot be followed, each with what to do.
    pub(super) fn refused(&self) -> Option<(&'static str, String)> {
        const REMEDY: &str = "sockets are not taken over from systemd: leave the flag and the .socket unit out, and say \
                              --web.listen-address=:9093";
        self.systemd_socket.then(|| ("--web.systemd-socket", REMEDY.to_owned()))
    }

    /// Flags that do nothing here, each with what does instead.
    pub(crate) fn unused(&self) -> Vec<(&'static str, &'static str)> {
        const MEMBERS: &str =
            "there is no gossip: nodes are members of one registry (--node-id, --initial-cluster)";
        const KEPT: &str = "what is over stays in the registry as docs/alertmanager.md says";
        const LIMITS: &str = "requests are limited by themselves";
        let one = Option::is_some;
        [
            ("--web.route-prefix", one(&self.route_prefix), "there is no prefix"),
            ("--data.retention", one(&self.retention), KEPT),
            ("--data.maintenance-interval", one(&self.maintenance_interval), KEPT),
            ("--web.ui-path", one(&self.ui_path), "the console is part of the program: /alerts"),
            ("--alerts.gc-interval", one(&self.gc_interval), KEPT),
            ("--web.get-concurrency", one(&self.get_concurrency), LIMITS),
            ("--web.timeout", one(&self.timeout), LIMITS),
            ("--enable-feature", !self.features.is_empty(), "nothing has to be enabled"),
            ("--cluster.listen-address", one(&self.cluster_listen), MEMBERS),
            ("--cluster.advertise-address", one(&self.cluster_advertise), MEMBERS),
            (
                "--cluster.allow-insecure-public-advertise-address-discovery",
                self.cluster_discovery,
                MEMBERS,
            ),
            ("--cluster.peer", !self.cluster_peers.is_empty(), MEMBERS),
            ("--cluster.peer-timeout", one(&self.cluster_peer_timeout), MEMBERS),
            ("--cluster.gossip-interval", one(&self.cluster_gossip), MEMBERS),
            ("--cluster.pushpull-interval", one(&self.cluster_pushpull), MEMBERS),
            ("--cluster.tcp-timeout", one(&self.cluster_tcp_timeout), MEMBERS),
            ("--cluster.probe-timeout", one(&self.cluster_probe_timeout), MEMBERS),
            ("--cluster.probe-interval", one(&self.cluster_probe_interval), MEMBERS),
            ("--cluster.settle-timeout", one(&self.cluster_settle_timeout), MEMBERS),
            ("--cluster.reconnect-interval", one(&self.cluster_reconnect_interval), MEMBERS),
            ("--cluster.reconnect-timeout", one(&self.cluster_reconnect_timeout), MEMBERS),
            ("--cluster.label", one(&self.cluster_label), MEMBERS),
            (
                "--cluster.tls-config",
                one(&self.cluster_tls),
                "registry.peer_tls says how members speak",
            ),
        ]
        .into_iter()
        .filter_map(|(flag, is_given, instead)| is_given.then_some((flag, instead)))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        flags: AlertmanagerFlags,
    }

    fn read(flags: &[&str]) -> Result<AlertmanagerFlags, String> {
        let line = ["serve"].iter().chain(flags);
        Line::try_parse_from(line).map(|line| line.flags).map_err(|e| e.to_string())
    }

    #[test]
    fn what_unit_files_say() {
        let flags = read(&[
            "--log.level=warn",
            "--log.format=json",
            "--data.retention=120h",
            "--web.route-prefix=/",
            "--cluster.listen-address=",
            "--cluster.peer=a:9094",
            "--cluster.peer=b:9094",
            "--data.maintenance-interval=15m",
            "--web.ui-path=/usr/share/prometheus/alertmanager/ui/",
        ])
        .expect("they are taken");
        assert_eq!((flags.logged(), flags.format), (Some("warn"), Some(LogFormat::Json)));
        let unused: Vec<_> = flags.unused().into_iter().map(|(flag, _)| flag).collect();
        assert_eq!(
            unused,
            [
                "--web.route-prefix",
                "--data.retention",
                "--data.maintenance-interval",
                "--web.ui-path",
                "--cluster.listen-address",
                "--cluster.peer"
            ]
        );
        assert!(AlertmanagerFlags::default().unused().is_empty());
        for (flag, remedy) in [
            ("--web.route-prefix=/am", "let a proxy in front take it off"),
            ("--log.level=loud", "write debug, info, warn or error"),
            ("--log.format=xml", "write logfmt or json"),
        ] {
            let refused = read(&[flag]).expect_err(flag);
            assert!(refused.contains(remedy), "{flag}: {refused}");
        }
    }
}
