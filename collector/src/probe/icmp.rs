//! The ICMP probe: an echo request and its reply, over a socket that needs no privileges where the system has them.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    net::IpAddr,
};

use watchkeep_catalog::IcmpCheck;

use super::{Endpoint, Phase, Stopwatch};

mod packet;
mod socket;

use packet::Version;
use socket::EchoSocket;

/// Who asks, in the payload.
const NAME: &[u8] = b"watchkeep";

#[derive(Debug)]
pub(super) struct IcmpProbe {
    payload: Vec<u8>,
    ttl: Option<u8>,
    dont_fragment: bool,
}

impl IcmpProbe {
    pub(super) fn new(check: &IcmpCheck) -> Self {
        let mut payload = NAME.to_vec();
        if let Some(bytes) = check.payload_bytes {
            payload.resize(bytes.into(), 0);
        }
        Self { payload, ttl: check.ttl, dont_fragment: check.dont_fragment }
    }

    pub(super) async fn run(
        &self,
        endpoint: &Endpoint,
        watch: &mut Stopwatch,
    ) -> Result<String, String> {
        let found = endpoint.first(watch).await?;
        let address = found.ip();
        let source = endpoint.source.map(|_| endpoint.local(found));
        let socket = EchoSocket::open(address, source, self.ttl, self.dont_fragment)?;
        let version = if address.is_ipv4() { Version::V4 } else { Version::V6 };
        let (id, sequence) = draw();
        let packet = packet::request(version, id, sequence, &self.payload);
        let packet = match (self.dont_fragment, address) {
            (true, IpAddr::V4(to)) => packet::unfragmented(&packet, to, self.ttl),
            _ => packet,
        };
        watch.enter(Phase::Processing);
        socket.send(&packet).await.map_err(|e| format!("no request to {address}: {e}"))?;
        let id = (!socket.has_own_id()).then_some(id);
        loop {
            let got =
                socket.receive().await.map_err(|e| format!("no reply from {address}: {e}"))?;
            if packet::echoes(version, &got.packet, id, sequence, &self.payload) {
                if let Some(hops) = got.hop_limit {
                    watch.fact("probe_icmp_reply_hop_limit", hops.into());
                }
                return Ok(format!("{address} echoed {} bytes", self.payload.len()));
            }
        }
    }

    /// Says how long the phases took, as far as it came.
    pub(super) fn conclude(watch: &mut Stopwatch, good: bool) {
        let phases = watch.phases;
        let rtt = if good { phases.processing.as_secs_f64() } else { 0.0 };
        for (phase, seconds) in [
            ("resolve", phases.resolve.as_secs_f64()),
            ("setup", phases.connect.as_secs_f64()),
            ("rtt", rtt),
        ] {
            watch.fact_with("probe_icmp_duration_seconds", &[("phase", phase)], seconds);
        }
    }
}

/// An id and a sequence number that nobody else's request has, most likely.
fn draw() -> (u16, u16) {
    let [a, b, c, d, ..] = RandomState::new().build_hasher().finish().to_be_bytes();
    (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
}

#[cfg(test)]
mod tests;
