//! Name to address to TCP connection.

use std::{
    fmt, io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use tokio::{
    net::{TcpStream, lookup_host},
    time::Instant,
};

use watchkeep_catalog::IpProtocol;

use super::{Phase, Stopwatch, policy::Policy};

/// Where a probe connects to.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    /// Host name or IP address.
    pub(crate) address: String,
    pub(crate) port: u16,
    /// Which of them may be probed.
    pub(crate) policy: Arc<Policy>,
    /// Which of its addresses are tried.
    pub(crate) ip_protocol: IpProtocol,
    /// Take an address of the other protocol when there is none of this.
    pub(crate) fallback: bool,
    /// Keep the connection for the next probe.
    pub(crate) reuse: bool,
}

impl fmt::Display for Endpoint {
    /// `host:port`, an IPv6 address in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address.parse::<Ipv6Addr>() {
            Ok(address) => write!(f, "[{address}]:{}", self.port),
            Err(_) => write!(f, "{}:{}", self.address, self.port),
        }
    }
}

impl Endpoint {
    /// Resolves: the addresses to try, at least one.
    pub(super) async fn resolve(&self, watch: &mut Stopwatch) -> Result<Vec<SocketAddr>, String> {
        let name = self.address.as_str();
        let started = Instant::now();
        let found = lookup_host((name, self.port)).await;
        watch.fact("probe_dns_lookup_time_seconds", started.elapsed().as_secs_f64());
        let found = found.map_err(|e| format!("resolve {name}: {}", io_words(&e)))?.collect();
        let chosen = choose(found, self.ip_protocol, self.fallback);
        if chosen.is_empty() {
            return Err(format!(
                "resolve {name}: it has no {}address",
                match self.ip_protocol {
                    IpProtocol::Any => "",
                    IpProtocol::Ip4 => "IPv4 ",
                    IpProtocol::Ip6 => "IPv6 ",
                }
            ));
        }
        // One that is denied is as bad as all: what resolves to it is not what it seems.
        for address in &chosen {
            self.policy.judge(address.ip())?;
        }
        Ok(chosen)
    }

    /// Resolves to the first address, for what has no connection to try; the phase is then [`Phase::Connect`].
    pub(super) async fn first(&self, watch: &mut Stopwatch) -> Result<SocketAddr, String> {
        let found = self.resolve(watch).await?;
        watch.enter(Phase::Connect);
        let first = found.first().copied();
        let first = first.ok_or_else(|| format!("resolve {}: it has no address", self.address))?;
        tell(first, watch);
        Ok(first)
    }

    /// Resolves and connects, to one address after the other until one accepts.
    pub(super) async fn connect(&self, watch: &mut Stopwatch) -> Result<TcpStream, String> {
        let found = self.resolve(watch).await?;
        watch.enter(Phase::Connect);
        let mut failed = String::new();
        for socket in found {
            tell(socket, watch);
            match TcpStream::connect(socket).await {
                Ok(stream) => {
                    // Without it small requests may wait for an acknowledgement; if it fails they do.
                    let _ = stream.set_nodelay(true);
                    watch.note(|| format!("connected to {socket}"));
                    return Ok(stream);
                }
                Err(error) => {
                    failed = format!("connect to {socket}: {}", io_words(&error));
                    watch.note(|| failed.clone());
                }
            }
        }
        Err(failed)
    }
}

/// Facts of an address.
pub(super) fn tell(socket: SocketAddr, watch: &mut Stopwatch) {
    watch.fact("probe_ip_protocol", if socket.is_ipv4() { 4.0 } else { 6.0 });
    watch.fact("probe_ip_addr_hash", f64::from(ip_hash(socket.ip())));
}

/// The addresses to try. With a preference it is one, as in blackbox_exporter.
fn choose(found: Vec<SocketAddr>, preferred: IpProtocol, fallback: bool) -> Vec<SocketAddr> {
    let wants_v4 = match preferred {
        IpProtocol::Any => return found,
        IpProtocol::Ip4 => true,
        IpProtocol::Ip6 => false,
    };
    let best = found.iter().find(|address| address.is_ipv4() == wants_v4);
    let best = best.or_else(|| found.first().filter(|_| fallback));
    best.copied().into_iter().collect()
}

/// FNV-1a of the address's bytes: what blackbox_exporter shows of an address without showing it.
fn ip_hash(ip: IpAddr) -> u32 {
    let hash = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
    };
    match ip.to_canonical() {
        IpAddr::V4(ip) => hash(&ip.octets()),
        IpAddr::V6(ip) => hash(&ip.octets()),
    }
}

/// What happened, without the operating system's number for it.
pub(super) fn io_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        io::ErrorKind::TimedOut => "timed out".to_owned(),
        io::ErrorKind::HostUnreachable => "no route to host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "network unreachable".to_owned(),
        io::ErrorKind::UnexpectedEof => "connection closed".to_owned(),
        _ => error.to_string(),
    }
}
