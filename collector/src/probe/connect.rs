//! Name to address to TCP connection.

use std::{
    fmt, io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use tokio::{
    net::{TcpSocket, TcpStream},
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
    /// The own address to connect from; none: the system chooses.
    pub(crate) source: Option<IpAddr>,
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
        let found = self.policy.resolver.lookup(name, self.port).await;
        watch.fact("probe_dns_lookup_time_seconds", started.elapsed().as_secs_f64());
        let found = found.map_err(|e| format!("resolve {name}: {}", io_words(&e)))?;
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
        let chosen = self.reachable(chosen)?;
        // One that is denied is as bad as all: what resolves to it is not what it seems.
        for address in &chosen {
            self.policy.judge(address.ip())?;
        }
        Ok(chosen)
    }

    /// Those of the same protocol as the own address, where one is given.
    fn reachable(&self, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, String> {
        let Some(source) = self.source else { return Ok(found) };
        let same = |address: &SocketAddr| address.is_ipv4() == source.is_ipv4();
        let reachable: Vec<_> = found.into_iter().filter(same).collect();
        if reachable.is_empty() {
            return Err(format!(
                "source_ip_address {source}: {} has no address of the same protocol",
                self.address
            ));
        }
        Ok(reachable)
    }

    /// Where sockets to `to` are bound.
    pub(super) fn local(&self, to: SocketAddr) -> SocketAddr {
        let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
        SocketAddr::new(self.source.unwrap_or(any), 0)
    }

    async fn stream(&self, to: SocketAddr) -> io::Result<TcpStream> {
        if self.source.is_none() {
            return TcpStream::connect(to).await;
        }
        let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.bind(self.local(to))?;
        socket.connect(to).await
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
            match self.stream(socket).await {
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

#[cfg(test)]
mod tests;
