//! DNS over the catalog: a service's passing instances under names of Consul's shapes, by UDP and TCP.
//!
//! ```text
//! [tag.]web.service.watchkeep.          SRV, A, AAAA, TXT of the passing instances
//! _web._tag.service.watchkeep.          the same, in the form of RFC 2782; _tcp and _udp ask for no tag
//! web-1.web.instance.watchkeep.         one instance, if it passes; so web-1.instance.watchkeep.
//! 0a000001.addr.watchkeep.              an address, as SRV records name it where an id is no label
//! ```
//!
//! Authoritative for its domain and nothing else: it asks nobody. Answers come from the catalog in memory.

mod answer;
mod question;
mod server;
#[cfg(test)]
mod tests;

pub(crate) use question::Domain;
pub(crate) use server::Dns;
