//! An answer made of any bytes, read and judged as the probe does it: for the fuzzer and the property tests.

use std::sync::{Arc, OnceLock};

use watchkeep_catalog::{DnsCheck, DnsRecordRules, IpProtocol};

use super::DnsProbe;
use crate::probe::{Context, Endpoint, FACTS_MAX, Files, Policy, Stopwatch};

/// Id of the question.
const ID: [u8; 2] = [0x12, 0x34];

/// A message behind its id, which is always the question's.
pub(crate) fn answer(data: &[u8]) {
    static PROBE: OnceLock<DnsProbe> = OnceLock::new();
    let probe = PROBE.get_or_init(probe);
    let bytes = [&ID, data].concat();
    let Ok(answer) = probe.read(&bytes, u16::from_be_bytes(ID)) else { return };
    let mut watch = Stopwatch::start(true);
    // An error is as good an end as any.
    let _ = probe.judge(&answer, &mut watch);
    assert!(watch.take_facts().len() <= FACTS_MAX);
}

/// Asks for the SOA of `a.test`, and looks at every record as text.
fn probe() -> DnsProbe {
    let policy = Arc::new(Policy::new(&[], &[]).expect("no ranges"));
    let endpoint = Endpoint {
        address: "127.0.0.1".to_owned(),
        port: 53,
        source: None,
        reuse: false,
        policy,
        ip_protocol: IpProtocol::Any,
        fallback: true,
    };
    let rules = DnsRecordRules {
        fail_if_matches_regexp: vec!["no such record".to_owned()],
        ..DnsRecordRules::default()
    };
    let check = DnsCheck {
        query_name: "a.test".to_owned(),
        query_type: "SOA".to_owned(),
        valid_rcodes: vec!["NOERROR".to_owned(), "NXDOMAIN".to_owned(), "SERVFAIL".to_owned()],
        validate_answer_rrs: rules.clone(),
        validate_authority_rrs: rules.clone(),
        validate_additional_rrs: rules,
        ..DnsCheck::default()
    };
    let policy = Policy::new(&[], &[]).expect("no ranges");
    let context = Context::new(policy, Files::None).expect("TLS");
    DnsProbe::new(&endpoint, &check, &context).expect("a good check")
}
