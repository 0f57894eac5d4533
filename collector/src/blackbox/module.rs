//! What a module and a target mean for our own probes: a [`Check`], which any prober runs.

use std::{path::Path, time::Duration};

use watchkeep_catalog::{
    Check, DialogueStep, DnsCheck, DnsRecordRules, DnsTransport, GrpcCheck, IcmpCheck,
    IpProtocol as Preferred, Secret, TcpCheck, TlsSettings as Tls, TlsVersion,
};

use super::{
    config::{
        DnsModule, GrpcModule, IcmpModule, IpProtocol, Module, ProberKind, RecordRules, TcpModule,
        TlsSettings,
    },
    target::Aim,
};

mod http;

/// A check that is ready to be made a prober.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Aimed {
    pub(crate) check: Check,
    pub(crate) address: String,
    pub(crate) port: u16,
}

impl Module {
    /// The check that probes `target`; `hostname` takes the place of the target's for an HTTP server.
    ///
    /// # Errors
    /// In words, when the target is none for this prober.
    pub(crate) fn aim(
        &self,
        target: &str,
        hostname: Option<&str>,
        timeout: Duration,
    ) -> Result<Aimed, String> {
        let prober = self.prober.ok_or("the module has no prober")?;
        let aim = Aim::read(prober, target)?;
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX).max(1);
        let mut check = Check { name: "probe".to_owned(), timeout_ms, ..Check::default() };
        let default_port = match prober {
            ProberKind::Http => {
                let module = self.http.clone().unwrap_or_default();
                prefer(&mut check, module.preferred_ip_protocol, module.ip_protocol_fallback);
                check.http = Some(Box::new(http::check(&module, &aim, hostname)?));
                if aim.https { 443 } else { 80 }
            }
            ProberKind::Tcp => {
                let module = self.tcp.clone().unwrap_or_default();
                prefer(&mut check, module.preferred_ip_protocol, module.ip_protocol_fallback);
                check.source_ip_address = module.source_ip_address;
                check.tcp = Some(Box::new(tcp(&module)));
                0
            }
            ProberKind::Dns => {
                let module = self.dns.as_ref().ok_or("the module has no section dns")?;
                prefer(&mut check, module.preferred_ip_protocol, module.ip_protocol_fallback);
                check.source_ip_address = module.source_ip_address;
                check.dns = Some(Box::new(dns(module)));
                if module.dns_over_tls { 853 } else { 53 }
            }
            ProberKind::Icmp => {
                let module = self.icmp.clone().unwrap_or_default();
                prefer(&mut check, module.preferred_ip_protocol, module.ip_protocol_fallback);
                check.source_ip_address = module.source_ip_address;
                check.icmp = Some(Box::new(icmp(&module)));
                0
            }
            ProberKind::Grpc => {
                let module = self.grpc.clone().unwrap_or_default();
                prefer(&mut check, module.preferred_ip_protocol, module.ip_protocol_fallback);
                check.grpc = Some(Box::new(grpc(&module)));
                if module.tls { 443 } else { 80 }
            }
        };
        let port = aim.port.unwrap_or(default_port);
        Ok(Aimed { check, address: aim.address, port })
    }
}

fn prefer(check: &mut Check, preferred: IpProtocol, fallback: bool) {
    check.ip_protocol = match preferred {
        IpProtocol::Ip4 => Preferred::Ip4,
        IpProtocol::Ip6 => Preferred::Ip6,
    };
    check.ip_protocol_fallback = fallback;
}

fn tcp(module: &TcpModule) -> TcpCheck {
    let steps = module.query_response.iter().map(|step| DialogueStep {
        expect: Some(step.expect.clone()).filter(|expect| !expect.is_empty()),
        send: step.send.clone(),
        starttls: step.starttls,
    });
    TcpCheck {
        tls: module.tls,
        tls_config: Some(tls(&module.tls_config)),
        query_response: steps.collect(),
        ..TcpCheck::default()
    }
}

fn dns(module: &DnsModule) -> DnsCheck {
    let transport = match (module.transport_protocol.as_str(), module.dns_over_tls) {
        (_, true) => DnsTransport::Tls,
        ("tcp", false) => DnsTransport::Tcp,
        _ => DnsTransport::Udp,
    };
    let or = |text: &str, default: &str| {
        if text.is_empty() { default.to_owned() } else { text.to_owned() }
    };
    DnsCheck {
        transport,
        query_name: module.query_name.clone(),
        query_type: or(&module.query_type, "ANY"),
        query_class: or(&module.query_class, "IN"),
        recursion_desired: module.recursion_desired,
        valid_rcodes: module.valid_rcodes.clone(),
        validate_answer_rrs: records(&module.validate_answer_rrs),
        validate_authority_rrs: records(&module.validate_authority_rrs),
        validate_additional_rrs: records(&module.validate_additional_rrs),
        tls: module.dns_over_tls.then(|| tls(&module.tls_config)),
        ..DnsCheck::default()
    }
}

fn records(rules: &RecordRules) -> DnsRecordRules {
    DnsRecordRules {
        fail_if_matches_regexp: rules.fail_if_matches_regexp.clone(),
        fail_if_all_match_regexp: rules.fail_if_all_match_regexp.clone(),
        fail_if_not_matches_regexp: rules.fail_if_not_matches_regexp.clone(),
        fail_if_none_matches_regexp: rules.fail_if_none_matches_regexp.clone(),
    }
}

fn icmp(module: &IcmpModule) -> IcmpCheck {
    IcmpCheck {
        payload_bytes: u16::try_from(module.payload_size).ok().filter(|bytes| *bytes > 0),
        ttl: Some(module.ttl).filter(|hops| *hops > 0),
        dont_fragment: module.dont_fragment,
    }
}

fn grpc(module: &GrpcModule) -> GrpcCheck {
    GrpcCheck {
        service: module.service.clone(),
        tls: module.tls.then(|| tls(&module.tls_config)),
        ..GrpcCheck::default()
    }
}

fn tls(settings: &TlsSettings) -> Tls {
    let version = |name: &Option<String>| match name.as_deref()? {
        "TLS10" => Some(TlsVersion::Tls10),
        "TLS11" => Some(TlsVersion::Tls11),
        "TLS12" => Some(TlsVersion::Tls12),
        "TLS13" => Some(TlsVersion::Tls13),
        _ => None,
    };
    Tls {
        ca_file: settings.ca_file.as_deref().map(path),
        cert_file: settings.cert_file.as_deref().map(path),
        key_file: settings.key_file.as_deref().map(path),
        server_name: settings.server_name.clone().filter(|name| !name.is_empty()),
        min_version: version(&settings.min_version),
        max_version: version(&settings.max_version),
        insecure_skip_verify: settings.insecure_skip_verify,
    }
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

/// A secret from the file, or from a file that it names.
fn secret(
    here: Option<&super::config::Secret>,
    file: Option<&std::path::PathBuf>,
) -> Option<Secret> {
    let here = here.map(|secret| Secret::Literal(secret.0.clone()));
    here.or_else(|| file.map(|file| Secret::File(path(file))))
}
