//! Names, records, codes and sizes, against catalogs made by hand.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use hickory_proto::{
    op::{Edns, Message, OpCode, Query, ResponseCode},
    rr::{Name, RData, RecordType},
};
use rand::{SeedableRng, rngs::StdRng};
use watchkeep_catalog::{
    Catalog, KeyValue,
    client::{Batch, Change},
    keys,
    view::State,
};

use super::{
    answer::Zone,
    question::{Asked, Domain},
};

fn zone() -> Zone {
    let listen = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8600);
    Zone { domain: "watchkeep".parse().expect("a domain"), ttl_seconds: 5, listen }
}

fn kv(key: String, value: String) -> Change {
    let value = value.into();
    Change::Put(KeyValue { key, value, create_revision: 1, mod_revision: 7, version: 1, lease: 0 })
}

/// `(service, id, address, tags, more fields)`.
fn catalog(instances: &[(&str, &str, &str, &str, &str)]) -> Catalog {
    let changes = instances.iter().map(|(service, id, address, tag, more)| {
        let tags = if tag.is_empty() { String::new() } else { format!(r#","tags":["{tag}"]"#) };
        let record = format!(r#"{{"id":"{id}","address":"{address}","port":80{tags}{more}}}"#);
        kv(keys::instance(service, id), record)
    });
    let mut state = State::default();
    state.apply(Batch { changes: changes.collect(), revision: 7 });
    state.catalog().clone()
}

fn ask(catalog: &Catalog, name: &str, kind: RecordType, edns: Option<u16>, udp: bool) -> Message {
    let mut query = Message::query();
    query.add_query(Query::query(Name::from_ascii(name).expect("a name"), kind));
    if let Some(size) = edns {
        let mut edns = Edns::new();
        edns.set_max_payload(size);
        query.set_edns(edns);
    }
    let request = query.to_vec().expect("a query");
    let mut lots = StdRng::seed_from_u64(1);
    let reply = zone().reply(&request, udp, catalog, &mut lots).expect("a reply");
    let limit = edns.unwrap_or(512).min(1232);
    assert!(!udp || reply.bytes.len() <= usize::from(limit), "{} bytes", reply.bytes.len());
    Message::from_vec(&reply.bytes).expect("an answer")
}

fn code(catalog: &Catalog, name: &str, kind: RecordType) -> ResponseCode {
    let answer = ask(catalog, name, kind, None, true);
    // What is not there is told with the zone's SOA, so that it is remembered for as long as that says.
    let empty = answer.answers.is_empty() && answer.metadata.authoritative;
    assert_eq!(answer.authorities.len(), usize::from(empty), "{answer:?}");
    answer.metadata.response_code
}

fn data(answer: &Message) -> Vec<String> {
    let mut all: Vec<_> = answer.answers.iter().map(|r| r.data.to_string()).collect();
    all.sort();
    all
}

const CHECKED: &str = r#","checks":[{"name":"c","tcp":{}}]"#;

#[test]
fn names_are_read() {
    let domain: Domain = "eu.Watchkeep".parse().expect("a domain");
    let read = |name: &str| domain.read(&Name::from_ascii(name).expect("a name"));
    let service = |ways: &[(Option<&str>, &str)]| {
        let own = |(tag, name): &(Option<&str>, &str)| (tag.map(str::to_owned), (*name).to_owned());
        Some(Asked::Service(ways.iter().map(own).collect()))
    };
    for (name, asked) in [
        ("EU.watchkeep.", Some(Asked::Apex)),
        ("watchkeep.", None),
        ("web.service.consul.", None),
        ("service.eu.watchkeep.", Some(Asked::Empty)),
        ("ns.eu.watchkeep.", Some(Asked::Server)),
        ("Web.Service.eu.watchkeep.", service(&[(None, "web")])),
        ("v1.web.service.eu.watchkeep.", service(&[(None, "v1.web"), (Some("v1"), "web")])),
        ("_web._blue.service.eu.watchkeep.", service(&[(Some("blue"), "web")])),
        ("_web._tcp.service.eu.watchkeep.", service(&[(None, "web")])),
        ("0a000001.addr.eu.watchkeep.", Some(Asked::Address([10, 0, 0, 1].into()))),
        ("0a0001.addr.eu.watchkeep.", Some(Asked::Unknown)),
        ("web.eu.watchkeep.", Some(Asked::Unknown)),
    ] {
        assert_eq!(read(name), asked, "{name}");
    }
    for bad in ["", ".", "a..b", &"x".repeat(70)] {
        assert!(bad.parse::<Domain>().is_err(), "{bad:?}");
    }
}

#[test]
fn what_there_is_and_what_there_is_not() {
    let catalog = catalog(&[
        ("web", "web-1", "10.0.0.1", "blue", r#","weight":7,"metadata":{"v":"2"}"#),
        ("web", "web-2", "fd00::2", "green", ""),
        ("web", "web-3", "10.0.0.3", "new", CHECKED),
        ("mail", "mx-1", "mail.example.org", "", ""),
    ]);
    let found = |name, kind| data(&ask(&catalog, name, kind, None, true));
    assert_eq!(found("web.service.watchkeep.", RecordType::A), ["10.0.0.1"]);
    assert_eq!(found("WEB.service.watchkeep.", RecordType::AAAA), ["fd00::2"]);
    assert_eq!(found("blue.web.service.watchkeep.", RecordType::A), ["10.0.0.1"]);
    assert_eq!(found("_web._green._x.watchkeep.", RecordType::AAAA), Vec::<String>::new());
    assert_eq!(found("web-1.web.instance.watchkeep.", RecordType::A), ["10.0.0.1"]);
    assert_eq!(found("web-1.instance.watchkeep.", RecordType::A), ["10.0.0.1"]);
    assert_eq!(found("0a000001.addr.watchkeep.", RecordType::A), ["10.0.0.1"]);
    assert_eq!(found("mail.service.watchkeep.", RecordType::A), ["mail.example.org."]);
    assert_eq!(found("watchkeep.", RecordType::NS), ["ns.watchkeep."]);
    assert_eq!(found("ns.watchkeep.", RecordType::A), ["127.0.0.1"]);
    let texts = ask(&catalog, "web-1.web.instance.watchkeep.", RecordType::TXT, None, true);
    let RData::TXT(texts) = &texts.answers[0].data else { panic!("{texts:?}") };
    let texts: Vec<_> = texts.txt_data.iter().map(|t| String::from_utf8_lossy(t)).collect();
    assert_eq!(texts, ["id=web-1", "tag=blue", "v=2"]);

    let services = ask(&catalog, "_web._tcp.service.watchkeep.", RecordType::SRV, None, true);
    assert_eq!(
        data(&services),
        ["1 1 80 web-2.web.instance.watchkeep.", "1 7 80 web-1.web.instance.watchkeep."]
    );
    let mut glue: Vec<_> = services.additionals.iter().map(|r| r.data.to_string()).collect();
    glue.sort();
    assert_eq!(glue, ["10.0.0.1", "fd00::2"]);
    assert_eq!(services.answers[0].ttl, 5);
    let mail = ask(&catalog, "mail.service.watchkeep.", RecordType::SRV, None, true);
    assert_eq!(data(&mail), ["1 1 80 mail.example.org."]);

    let (no_error, no_name) = (ResponseCode::NoError, ResponseCode::NXDomain);
    for (name, kind, expected) in [
        // There, but not passing (not judged yet), or of another type.
        ("new.web.service.watchkeep.", RecordType::A, no_error),
        ("web-3.web.instance.watchkeep.", RecordType::A, no_error),
        ("web.service.watchkeep.", RecordType::MX, no_error),
        ("green.web.service.watchkeep.", RecordType::A, no_error),
        ("service.watchkeep.", RecordType::A, no_error),
        ("watchkeep.", RecordType::A, no_error),
        // Not there.
        ("db.service.watchkeep.", RecordType::A, no_name),
        ("red.web.service.watchkeep.", RecordType::SRV, no_name),
        ("web-9.web.instance.watchkeep.", RecordType::A, no_name),
        ("web.watchkeep.", RecordType::A, no_name),
        // Not ours.
        ("example.org.", RecordType::A, ResponseCode::Refused),
        ("watchkeep.", RecordType::AXFR, ResponseCode::Refused),
    ] {
        assert_eq!(code(&catalog, name, kind), expected, "{name} {kind}");
    }
    assert_eq!(
        code(&Catalog::default(), "web.service.watchkeep.", RecordType::A),
        ResponseCode::ServFail
    );
}

#[test]
fn an_answer_that_is_too_long_says_so() {
    let many: Vec<_> =
        (0..600).map(|n| (format!("web-{n}"), format!("10.0.{}.{}", n / 200, n % 200))).collect();
    let many: Vec<_> =
        many.iter().map(|(id, ip)| ("web", id.as_str(), ip.as_str(), "", "")).collect();
    let catalog = catalog(&many);
    let (mut some, mut seen) = (0, std::collections::BTreeSet::new());
    for (edns, udp) in [(None, true), (Some(1232), true), (Some(65_000), true)] {
        let answer = ask(&catalog, "web.service.watchkeep.", RecordType::A, edns, udp);
        assert!(answer.metadata.truncation && answer.answers.len() >= some);
        some = answer.answers.len();
        seen.extend(data(&answer));
    }
    assert!(some > 20, "{some}");
    for kind in [RecordType::A, RecordType::SRV] {
        let answer = ask(&catalog, "web.service.watchkeep.", kind, None, false);
        assert_eq!((answer.metadata.truncation, answer.answers.len()), (false, 600));
    }
}

#[test]
fn what_is_no_question_is_answered_with_care() {
    let catalog = catalog(&[]);
    let mut lots = StdRng::seed_from_u64(1);
    let mut reply = |bytes: &[u8]| {
        let reply = zone().reply(bytes, true, &catalog, &mut lots)?;
        Some(Message::from_vec(&reply.bytes).expect("an answer").metadata.response_code)
    };
    let mut query = Message::query();
    assert_eq!(reply(&query.to_vec().expect("bytes")), Some(ResponseCode::FormErr));
    query.add_query(Query::query(Name::from_ascii("watchkeep.").expect("a name"), RecordType::A));
    let bytes = query.to_vec().expect("bytes");
    assert_eq!(reply(&bytes[..bytes.len() - 3]), Some(ResponseCode::FormErr));
    query.metadata.op_code = OpCode::Notify;
    assert_eq!(reply(&query.to_vec().expect("bytes")), Some(ResponseCode::NotImp));
    let mut answer = Message::response(1, OpCode::Query);
    answer.add_query(query.queries[0].clone());
    assert_eq!(reply(&answer.to_vec().expect("bytes")), None);
    for garbage in [&b""[..], b"x", &[0xff; 40]] {
        assert_eq!(reply(garbage), None);
    }
}
