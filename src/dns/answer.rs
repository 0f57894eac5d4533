//! From a question and the catalog to an answer. Pure: draws lots from what it is given, and reads no clock.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{
        DNSClass, Name, RData, Record, RecordType,
        rdata::{A, AAAA, CNAME, NS, SOA, SRV, TXT},
    },
};
use rand::{Rng, seq::SliceRandom};
use watchkeep_catalog::{Catalog, Seen, view::ServiceSeen};

use super::question::{Asked, Domain};

/// Largest answer by UDP: what passes every network unfragmented.
pub(super) const UDP_BYTES_MAX: u16 = 1232;
/// Without EDNS a client takes no more by UDP.
const UDP_BYTES_PLAIN: u16 = 512;
/// Records of one answer, by UDP and by TCP; which ones is drawn by lot.
const RECORDS_MAX: (usize, usize) = (128, 1024);
/// Longest text of a TXT record.
const TEXT_BYTES_MAX: usize = 255;
/// The flag TC in the third byte.
const TRUNCATED: u8 = 0x02;
/// Texts of one TXT record.
const TEXTS_MAX: usize = 64;

/// What does not change from query to query.
#[derive(Debug, Clone)]
pub(super) struct Zone {
    pub(super) domain: Domain,
    pub(super) ttl_seconds: u32,
    /// Where we listen: the name server's own address, when it is one.
    pub(super) listen: SocketAddr,
}

/// An answer on the wire, and what the metrics say of it.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) bytes: Vec<u8>,
    pub(super) kind: &'static str,
    pub(super) rcode: &'static str,
    pub(super) is_truncated: bool,
}

/// The records that a name has, or that it has none of the type (`Some(vec![])`), or that there is no such name.
type Found = Option<Vec<Record>>;

impl Zone {
    /// Answers a datagram or a framed message; none when it is no query that could be answered.
    pub(super) fn reply(
        &self,
        request: &[u8],
        udp: bool,
        catalog: &Catalog,
        lots: &mut impl Rng,
    ) -> Option<Reply> {
        let query = match Message::from_vec(request) {
            Ok(message) if message.metadata.message_type == MessageType::Query => message,
            // Answering an answer would begin a conversation of two servers.
            Ok(_) => return None,
            Err(_) => {
                // The id is all that is needed, and it must not be an answer.
                let [high, low, flags, ..] = request else { return None };
                if request.len() < 12 || flags & 0x80 != 0 {
                    return None;
                }
                let id = u16::from_be_bytes([*high, *low]);
                let message = Message::error_msg(id, OpCode::Query, ResponseCode::FormErr);
                return finish(message, UDP_BYTES_PLAIN, "other");
            }
        };
        let mut answer = Message::response(query.metadata.id, query.metadata.op_code);
        answer.metadata.recursion_desired = query.metadata.recursion_desired;
        answer.queries.clone_from(&query.queries);
        let mut limit = if udp { UDP_BYTES_PLAIN } else { u16::MAX };
        if let Some(edns) = &query.edns {
            if udp {
                limit = edns.max_payload().clamp(UDP_BYTES_PLAIN, UDP_BYTES_MAX);
            }
            let mut ours = Edns::new();
            ours.set_max_payload(UDP_BYTES_MAX).set_version(0);
            answer.edns = Some(ours);
        }
        let kind = query.queries.first().map_or("other", |q| kind(q.query_type()));
        answer.metadata.response_code = match (&query.queries[..], query.metadata.op_code) {
            _ if query.edns.as_ref().is_some_and(|edns| edns.version() > 0) => {
                ResponseCode::BADVERS
            }
            (_, op_code) if op_code != OpCode::Query => ResponseCode::NotImp,
            ([question], _) => {
                let records_max = if udp { RECORDS_MAX.0 } else { RECORDS_MAX.1 };
                self.fill(&mut answer, question, catalog, records_max, lots)
            }
            _ => ResponseCode::FormErr,
        };
        finish(answer, limit, kind)
    }

    /// Fills in the records; answers with the code.
    fn fill(
        &self,
        answer: &mut Message,
        question: &Query,
        catalog: &Catalog,
        records_max: usize,
        lots: &mut impl Rng,
    ) -> ResponseCode {
        let (name, kind) = (question.name(), question.query_type());
        let is_ours = matches!(question.query_class(), DNSClass::IN | DNSClass::ANY);
        let Some(asked) = self.domain.read(name).filter(|_| is_ours) else {
            return ResponseCode::Refused;
        };
        if matches!(kind, RecordType::AXFR | RecordType::IXFR) {
            return ResponseCode::Refused;
        }
        if catalog.revision() == 0 {
            return ResponseCode::ServFail;
        }
        answer.metadata.authoritative = true;
        let mut additionals = Vec::new();
        let found = match asked {
            Asked::Apex => Some(self.apex(kind, catalog)),
            Asked::Server => {
                Some(addresses(&[self.listen.ip()], kind, |data| self.record(name, data)))
            }
            Asked::Empty => Some(Vec::new()),
            Asked::Address(address) => {
                Some(addresses(&[address], kind, |data| self.record(name, data)))
            }
            Asked::Service(ways) => service(catalog, &ways).map(|mut instances| {
                instances.shuffle(lots);
                answer.metadata.truncation = instances.len() > records_max;
                instances.truncate(records_max);
                self.of_instances(name, kind, &instances, &mut additionals)
            }),
            Asked::Instance(ways) => instance(catalog, &ways)
                .map(|instances| self.of_instances(name, kind, &instances, &mut additionals)),
            Asked::Unknown => None,
        };
        match found {
            Found::Some(records) if !records.is_empty() => {
                answer.answers = records;
                answer.additionals = additionals;
                ResponseCode::NoError
            }
            Found::Some(_) => {
                answer.authorities.extend(self.soa(catalog));
                ResponseCode::NoError
            }
            Found::None => {
                answer.authorities.extend(self.soa(catalog));
                ResponseCode::NXDomain
            }
        }
    }

    fn record(&self, name: &Name, data: RData) -> Record {
        Record::from_rdata(name.clone(), self.ttl_seconds, data)
    }

    fn apex(&self, kind: RecordType, catalog: &Catalog) -> Vec<Record> {
        let name = self.domain.name();
        let server = || Some(self.record(name, RData::NS(NS(self.domain.server()?))));
        match kind {
            RecordType::SOA => self.soa(catalog).into_iter().collect(),
            RecordType::NS => server().into_iter().collect(),
            RecordType::ANY => self.soa(catalog).into_iter().chain(server()).collect(),
            _ => Vec::new(),
        }
    }

    /// Its serial is the revision of the last change; its minimum bounds how long "there is none" is remembered.
    fn soa(&self, catalog: &Catalog) -> Option<Record> {
        let (server, person) = (self.domain.server()?, self.domain.below(["hostmaster"])?);
        // Serials wrap (RFC 1982).
        let serial = catalog.changed() as u32;
        let soa = SOA::new(server, person, serial, 3600, 600, 86_400, self.ttl_seconds);
        Some(self.record(self.domain.name(), RData::SOA(soa)))
    }

    fn of_instances(
        &self,
        name: &Name,
        kind: RecordType,
        instances: &[Arc<Seen>],
        additionals: &mut Vec<Record>,
    ) -> Vec<Record> {
        match kind {
            RecordType::SRV => {
                let services =
                    instances.iter().filter_map(|seen| self.srv(name, seen, additionals));
                services.collect()
            }
            RecordType::TXT => {
                let texts = instances.iter().map(|seen| self.record(name, RData::TXT(texts(seen))));
                texts.collect()
            }
            RecordType::A | RecordType::AAAA | RecordType::CNAME | RecordType::ANY => {
                let mut known = BTreeSet::new();
                let ips = instances.iter().filter_map(|seen| seen.instance.address.parse().ok());
                let ips: Vec<IpAddr> = ips.filter(|ip| known.insert(*ip)).collect();
                if !ips.is_empty() {
                    return addresses(&ips, kind, |data| self.record(name, data));
                }
                // An alias stands alone (RFC 1034 §3.6.2), so there is one, of the instance that was drawn.
                let host = instances.iter().find_map(|seen| host(&seen.instance.address));
                host.map(|host| self.record(name, RData::CNAME(CNAME(host)))).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    /// An instance as a SRV record; where its target lies in our domain, with the target's address.
    fn srv(&self, name: &Name, seen: &Seen, additionals: &mut Vec<Record>) -> Option<Record> {
        let i = &seen.instance;
        let target = match i.address.parse::<IpAddr>() {
            Err(_) => host(&i.address)?,
            Ok(ip) => {
                let labels = i.id.split('.').chain(i.service.split('.')).chain(["instance"]);
                let target = self.domain.below(labels).or_else(|| self.domain.of_address(ip))?;
                let data = |ip| match ip {
                    IpAddr::V4(v4) => RData::A(A(v4)),
                    IpAddr::V6(v6) => RData::AAAA(AAAA(v6)),
                };
                additionals.push(self.record(&target, data(ip)));
                target
            }
        };
        let weight = u16::try_from(i.weight).unwrap_or(u16::MAX);
        Some(self.record(name, RData::SRV(SRV::new(1, weight, i.port, target))))
    }
}

fn addresses(ips: &[IpAddr], kind: RecordType, record: impl Fn(RData) -> Record) -> Vec<Record> {
    let any = kind == RecordType::ANY;
    let data = |ip: &IpAddr| match ip {
        ip if ip.is_unspecified() => None,
        IpAddr::V4(v4) if any || kind == RecordType::A => Some(RData::A(A(*v4))),
        IpAddr::V6(v6) if any || kind == RecordType::AAAA => Some(RData::AAAA(AAAA(*v6))),
        _ => None,
    };
    ips.iter().filter_map(data).map(record).collect()
}

/// A host name that can stand in DNS.
fn host(address: &str) -> Option<Name> {
    Name::from_ascii(format!("{}.", address.trim_end_matches('.'))).ok()
}

/// `id`, `zone`, `role`, `tag`, then the metadata, each as `name=value` (RFC 1464).
fn texts(seen: &Seen) -> TXT {
    let i = &seen.instance;
    let own = [("id", &i.id), ("zone", &i.zone), ("role", &i.role)];
    let own = own.into_iter().filter(|(_, value)| !value.is_empty());
    let tags = i.tags.iter().map(|tag| ("tag", tag));
    let metadata = i.metadata.iter().map(|(key, value)| (key.as_str(), value));
    let all = own.chain(tags).chain(metadata).map(|(name, value)| format!("{name}={value}"));
    TXT::new(all.filter(|text| text.len() <= TEXT_BYTES_MAX).take(TEXTS_MAX).collect())
}

/// The passing instances; none when nothing of that name is registered.
fn service(catalog: &Catalog, ways: &[(Option<String>, String)]) -> Option<Vec<Arc<Seen>>> {
    ways.iter().find_map(|(tag, name)| {
        let service = find(catalog, name)?;
        let has = |seen: &&Arc<Seen>| {
            // A role counts as a tag: `primary.db.service` follows a promotion.
            let i = &seen.instance;
            tag.as_ref().is_none_or(|tag| {
                i.role.eq_ignore_ascii_case(tag)
                    || i.tags.iter().any(|t| t.eq_ignore_ascii_case(tag))
            })
        };
        let mut tagged = service.instances.values().filter(has).peekable();
        if tag.is_some() {
            tagged.peek()?;
        }
        Some(tagged.filter(|seen| seen.serves()).cloned().collect())
    })
}

/// The instance if it passes; none when it is not registered.
fn instance(catalog: &Catalog, ways: &[(String, Option<String>)]) -> Option<Vec<Arc<Seen>>> {
    let of = |service: &ServiceSeen, id: &str| {
        let exact = service.instances.get(id).cloned();
        exact.or_else(|| {
            let mut others = service.instances.values();
            others.find(|seen| seen.instance.id.eq_ignore_ascii_case(id)).cloned()
        })
    };
    ways.iter().find_map(|(id, service)| {
        let found: Vec<_> = match service {
            Some(name) => of(find(catalog, name)?, id).into_iter().collect(),
            None => catalog
                .services()
                .values()
                .filter_map(|s| s.instances.get(id.as_str()).cloned())
                .collect(),
        };
        let passing = found.iter().filter(|seen| seen.serves()).cloned().collect();
        (!found.is_empty()).then_some(passing)
    })
}

/// The service of this name; DNS knows no case.
fn find<'a>(catalog: &'a Catalog, name: &str) -> Option<&'a Arc<ServiceSeen>> {
    catalog.service(name).or_else(|| {
        let mut all = catalog.services().iter();
        all.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, service)| service)
    })
}

/// Puts the answer on the wire: within `limit` bytes, first without what is additional, then with fewer answers and
/// the flag that says so.
fn finish(mut answer: Message, limit: u16, kind: &'static str) -> Option<Reply> {
    let mut bytes = answer.to_vec();
    // The encoder leaves out what is beyond 64 KiB and sets the flag of its own accord.
    let too_long = |bytes: &Result<Vec<u8>, _>, told: bool| {
        let cut = |b: &Vec<u8>| !told && b.get(2).is_some_and(|flags| flags & TRUNCATED != 0);
        bytes.as_ref().map_or(true, |b| b.len() > usize::from(limit) || cut(b))
    };
    if too_long(&bytes, answer.metadata.truncation) && !answer.additionals.is_empty() {
        answer.additionals.clear();
        bytes = answer.to_vec();
    }
    while too_long(&bytes, answer.metadata.truncation) && !answer.answers.is_empty() {
        answer.answers.truncate(answer.answers.len() * 3 / 4);
        answer.metadata.truncation = true;
        bytes = answer.to_vec();
    }
    let (rcode, is_truncated) = (rcode(answer.metadata.response_code), answer.metadata.truncation);
    Some(Reply { bytes: bytes.ok()?, kind, rcode, is_truncated })
}

/// The type, from a bounded set.
fn kind(kind: RecordType) -> &'static str {
    match kind {
        RecordType::A => "A",
        RecordType::AAAA => "AAAA",
        RecordType::SRV => "SRV",
        RecordType::TXT => "TXT",
        RecordType::SOA => "SOA",
        RecordType::NS => "NS",
        RecordType::ANY => "ANY",
        _ => "other",
    }
}

fn rcode(code: ResponseCode) -> &'static str {
    match code {
        ResponseCode::NoError => "NOERROR",
        ResponseCode::NXDomain => "NXDOMAIN",
        ResponseCode::ServFail => "SERVFAIL",
        ResponseCode::Refused => "REFUSED",
        ResponseCode::FormErr => "FORMERR",
        ResponseCode::NotImp => "NOTIMP",
        ResponseCode::BADVERS => "BADVERS",
        _ => "other",
    }
}
