//! What a name asks for. Pure: no catalog, only labels.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use hickory_proto::rr::{LowerName, Name};

/// The domain under which names are answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Domain {
    name: Name,
    lower: LowerName,
}

impl FromStr for Domain {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let absolute = format!("{}.", text.trim_end_matches('.'));
        let name = Name::from_ascii(&absolute).map_err(|e| e.to_string())?;
        // Room for what stands before it: a tag, a service and `service`.
        if name.is_root() || name.len() > 100 {
            return Err("give a name of 1 to 100 characters".to_owned());
        }
        Ok(Self { lower: LowerName::new(&name), name })
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    /// The domain itself.
    Apex,
    /// The name server.
    Server,
    /// A name that exists only because others lie below it.
    Empty,
    /// A service; the ways to read the labels as tag and service, the first that exists counts.
    Service(Vec<(Option<String>, String)>),
    /// An instance; the ways to read the labels as id and service.
    Instance(Vec<(String, Option<String>)>),
    /// An address.
    Address(IpAddr),
    /// Nothing of ours.
    Unknown,
}

impl Domain {
    /// The domain itself.
    pub(super) fn name(&self) -> &Name {
        &self.name
    }

    /// A name below it, from labels; none when they are too long for DNS.
    pub(super) fn below<'a>(&self, labels: impl IntoIterator<Item = &'a str>) -> Option<Name> {
        let labels = labels.into_iter().map(str::as_bytes);
        Name::from_labels(labels).ok()?.append_domain(&self.name).ok()
    }

    /// The name of the name server.
    pub(super) fn server(&self) -> Option<Name> {
        self.below(["ns"])
    }

    /// What `name` asks for; none when it lies outside of the domain.
    pub(super) fn read(&self, name: &Name) -> Option<Asked> {
        if !self.lower.zone_of(&LowerName::new(name)) {
            return None;
        }
        let depth = usize::from(name.num_labels() - self.name.num_labels());
        let labels = name.iter().take(depth).map(|l| String::from_utf8(l.to_ascii_lowercase()));
        let Ok(labels) = labels.collect::<Result<Vec<String>, _>>() else {
            return Some(Asked::Unknown);
        };
        let Some((kind, before)) = labels.split_last() else { return Some(Asked::Apex) };
        Some(match (kind.as_str(), before) {
            ("ns", []) => Asked::Server,
            ("service" | "instance" | "addr", []) => Asked::Empty,
            ("service", before) => service(before),
            ("instance", before) => {
                // `a.b` may be instance `a` of service `b`, or an instance whose id is `a.b`.
                let split = |at| (before[..at].join("."), Some(before[at..].join(".")));
                let mut ways: Vec<_> = (1..before.len()).map(split).collect();
                ways.push((before.join("."), None));
                Asked::Instance(ways)
            }
            ("addr", [hex]) => address(hex).map_or(Asked::Unknown, Asked::Address),
            _ => Asked::Unknown,
        })
    }

    /// The label of an address below `addr`: its bytes in hexadecimal.
    pub(super) fn of_address(&self, address: IpAddr) -> Option<Name> {
        let hex = match address {
            IpAddr::V4(v4) => format!("{:08x}", v4.to_bits()),
            IpAddr::V6(v6) => format!("{:032x}", v6.to_bits()),
        };
        self.below([hex.as_str(), "addr"])
    }
}

fn service(before: &[String]) -> Asked {
    if let [name, tag] = before
        && let (Some(name), Some(tag)) = (name.strip_prefix('_'), tag.strip_prefix('_'))
    {
        let tag = (!matches!(tag, "tcp" | "udp")).then(|| tag.to_owned());
        return Asked::Service(vec![(tag, name.to_owned())]);
    }
    // Names may have dots: the whole is tried first, then with ever longer tags.
    let split = |at: usize| {
        let tag = (at > 0).then(|| before[..at].join("."));
        (tag, before[at..].join("."))
    };
    Asked::Service((0..before.len()).map(split).collect())
}

fn address(hex: &str) -> Option<IpAddr> {
    if !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    match hex.len() {
        8 => Some(Ipv4Addr::from_bits(u32::from_str_radix(hex, 16).ok()?).into()),
        32 => Some(Ipv6Addr::from_bits(u128::from_str_radix(hex, 16).ok()?).into()),
        _ => None,
    }
}
