//! `watchkeep probe`: one probe by hand, from this machine, as a collector here would make it.

use std::{path::PathBuf, time::Duration};

use anyhow::{anyhow, bail};
use clap::Args;
use serde_json::{Map, Value, json};
use url::Url;
use watchkeep_catalog::{Check, Kind, read_value};
use watchkeep_collector::{
    ByHand, Report,
    blackbox::{Module, Modules},
};

use crate::{
    config::{self, Config, Flags},
    out,
};

/// Arguments of `watchkeep probe`.
#[derive(Debug, Args)]
pub(crate) struct Probe {
    /// How: http, tcp, dns, icmp, grpc, or any other kind of check
    kind: String,
    /// What: host, host:port, or a URL; of unix the socket's path, of script the program's name
    target: String,
    /// Settings of the check, as in a registration: '{"expected_status": [404]}'
    #[arg(long, value_name = "JSON", conflicts_with = "module")]
    settings: Option<String>,
    /// A module of blackbox_exporter
    #[arg(long, value_name = "NAME")]
    module: Option<String>,
    /// The modules, when not those of the configuration
    #[arg(long, value_name = "FILE", requires = "module")]
    blackbox_config: Option<PathBuf>,
    /// The configuration: its modules, and which addresses may be probed
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Host name that an HTTP server is told, instead of the target's
    #[arg(long, value_name = "NAME", requires = "module")]
    hostname: Option<String>,
    /// A probe that takes longer has failed, unless the module says otherwise
    #[arg(long, value_name = "MS", default_value_t = 5_000)]
    timeout_ms: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Probe {
    /// Prints each phase, the facts and the reason.
    ///
    /// # Errors
    /// When the probe fails, with the reason; or when there is none to make.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let mut config = match &self.config {
            Some(file) => config::load(Some(file), &Flags::default())?,
            None => Config::default(),
        };
        if let Some(file) = &self.blackbox_config {
            config.collector.blackbox_config = Some(file.clone());
        }
        let by_hand = ByHand::new(&config.collector).map_err(|error| anyhow!(error))?;
        let report = match &self.module {
            Some(name) => {
                let modules = config.blackbox()?;
                let module = self.pick(name, modules.as_ref())?;
                let (host, timeout) =
                    (self.hostname.as_deref(), Duration::from_millis(self.timeout_ms));
                by_hand.module(module, &self.target, host, timeout).await
            }
            None => {
                let (address, port, check) = self.check()?;
                by_hand.check(&address, port, &check).await
            }
        };
        let report = report.map_err(|error| anyhow!(error))?;
        self.print(&report)?;
        if report.good { Ok(()) } else { bail!("{}", report.reason) }
    }

    fn pick<'a>(&self, name: &str, modules: Option<&'a Modules>) -> anyhow::Result<&'a Module> {
        let Some(Modules { modules }) = modules else {
            bail!(
                "there are no modules: name their file with --blackbox-config, or a configuration with \
                 collector.blackbox_config with --config"
            );
        };
        let Some(module) = modules.get(name) else {
            let known: Vec<_> = modules.keys().map(String::as_str).collect();
            bail!("module {name:?} is not defined; defined: {}", known.join(", "));
        };
        match module.prober {
            Some(prober) if prober.as_str() != self.kind => {
                bail!("module {name:?} is of prober {}, not {}", prober.as_str(), self.kind)
            }
            _ => Ok(module),
        }
    }

    /// The check that the arguments amount to, and where it goes.
    fn check(&self) -> anyhow::Result<(String, u16, Check)> {
        if !Kind::NAMES.contains(&self.kind.as_str()) {
            bail!("there is no kind {:?}; there are: {}", self.kind, Kind::NAMES.join(", "));
        }
        let mut settings: Map<String, Value> = match &self.settings {
            None => Map::new(),
            Some(text) => serde_json::from_str(text)
                .map_err(|error| anyhow!("--settings: {error}; give a JSON object"))?,
        };
        let place = Place::read(&self.kind, &self.target)?;
        for (name, value) in place.settings {
            settings.entry(name).or_insert(value);
        }
        let check = json!({"name": "probe", "timeout_ms": self.timeout_ms, &self.kind: settings});
        let check = read_value(&check).map_err(|error| {
            let example = self.example().map(|it| format!("; such as --settings '{it}'"));
            anyhow!("--settings: {error}{}", example.unwrap_or_default())
        })?;
        Ok((place.address, place.port, check))
    }

    /// Settings without which there is no probe of this kind.
    fn example(&self) -> Option<&'static str> {
        (self.kind == "dns" && self.settings.is_none())
            .then_some(r#"{"query_name": "example.org", "query_type": "A"}"#)
    }

    fn print(&self, report: &Report) -> anyhow::Result<()> {
        if self.json {
            out::line(serde_json::to_string_pretty(report)?);
            return Ok(());
        }
        let good = if report.good { "passing" } else { "failing" };
        out::line(format_args!(
            "{} {}: {good}, {} ({:.3} ms)",
            self.kind, self.target, report.reason, report.duration_ms
        ));
        for phase in &report.phases {
            out::line(format_args!("  {:<12}{:>10.3} ms", phase.phase, phase.took_ms));
        }
        for fact in &report.facts {
            out::line(format_args!("  {} {}", fact.name, fact.value));
        }
        for step in &report.steps {
            out::line(format_args!("  at {:>9.3} ms  {}", step.at_ms, step.what));
        }
        Ok(())
    }
}

/// Where a target is, and what it says of the check.
struct Place {
    address: String,
    port: u16,
    settings: Vec<(String, Value)>,
}

impl Place {
    /// A program's name, or what else is no address, becomes the setting it is meant as.
    fn read(kind: &str, target: &str) -> anyhow::Result<Self> {
        let here = |name: &str| {
            let (address, settings) =
                ("localhost".to_owned(), vec![(name.to_owned(), json!(target))]);
            Ok(Self { address, port: 0, settings })
        };
        match kind {
            "unix" => return here("path"),
            "script" => return here("command"),
            "ttl" | "alias" => bail!(
                "{kind} is nothing that can be probed by hand: it is what is reported to the registry; \
                 `watchkeep service list SERVICE` shows it"
            ),
            _ => {}
        }
        // An IPv6 address alone has no brackets to show where the port begins.
        let bare = target.parse::<std::net::Ipv6Addr>().is_ok();
        let (scheme, rest) = target.split_once("://").unwrap_or(("", target));
        let schemes: &[&str] = match kind {
            "http" => &["http", "https"],
            "websocket" => &["ws", "wss"],
            _ => &[],
        };
        if !scheme.is_empty() && !schemes.is_empty() && !schemes.contains(&scheme) {
            bail!("{target:?}: kind {kind} asks {}://; write it so", schemes.join(":// or "));
        }
        let url = if bare { format!("none://[{target}]") } else { format!("none://{rest}") };
        let url = Url::parse(&url)
            .map_err(|error| anyhow!("{target:?}: {error}; write it as host:port or as a URL"))?;
        let address = url.host_str().unwrap_or_default();
        if address.is_empty() {
            bail!("{target:?} has no host; write it as host:port or as a URL");
        }
        let is_tls = matches!(scheme, "https" | "wss" | "grpcs");
        let default = match kind {
            "http" | "websocket" if is_tls => Some(443),
            "http" | "websocket" => Some(80),
            "tls" => Some(443),
            "dns" => Some(53),
            "etcd" => Some(2379),
            "icmp" => Some(0),
            _ => None,
        };
        let Some(port) = url.port().or(default) else {
            bail!("{target:?} has no port; write it as host:port");
        };
        let mut settings = Vec::new();
        if matches!(kind, "http" | "websocket") {
            let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
            let path = if url.path().is_empty() { "/" } else { url.path() };
            settings.push(("path".to_owned(), json!(format!("{path}{query}"))));
            if !scheme.is_empty() {
                settings.push(("scheme".to_owned(), json!(scheme)));
            }
        }
        let address = address.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { address, port, settings })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_hosts_or_urls() {
        for (kind, target, address, port, settings) in [
            ("tcp", "web.example:22", "web.example", 22, ""),
            ("tcp", "[::1]:22", "::1", 22, ""),
            ("icmp", "::1", "::1", 0, ""),
            ("dns", "127.0.0.1", "127.0.0.1", 53, ""),
            ("http", "web.example", "web.example", 80, r#"[["path","/"]]"#),
            (
                "http",
                "https://web.example/a?b=c",
                "web.example",
                443,
                r#"[["path","/a?b=c"],["scheme","https"]]"#,
            ),
        ] {
            let place = Place::read(kind, target).expect(target);
            assert_eq!((place.address.as_str(), place.port), (address, port), "{target}");
            if !settings.is_empty() {
                assert_eq!(
                    serde_json::to_string(&place.settings).expect("JSON"),
                    settings,
                    "{target}"
                );
            }
        }
        for (kind, target, settings) in [
            ("unix", "/run/app.sock", r#"[["path","/run/app.sock"]]"#),
            ("script", "check_disk", r#"[["command","check_disk"]]"#),
        ] {
            let place = Place::read(kind, target).expect(target);
            assert_eq!(serde_json::to_string(&place.settings).expect("JSON"), settings);
        }
        for (kind, target) in [
            ("tcp", "web.example"),
            ("http", "http://"),
            ("http", "http://a b/"),
            ("ttl", "web"),
            ("alias", "web"),
        ] {
            assert!(Place::read(kind, target).is_err(), "{target}");
        }
    }
}
