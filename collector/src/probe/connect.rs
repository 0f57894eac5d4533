//! Name to address to TCP connection.

use std::{fmt, io, net::Ipv6Addr};

use tokio::net::{TcpStream, lookup_host};

use super::{Phase, Stopwatch};

/// Where a probe connects to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// Host name or IP address.
    pub(super) address: String,
    pub(super) port: u16,
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
    /// Resolves and connects, to one address after the other until one accepts.
    pub(super) async fn connect(&self, watch: &mut Stopwatch) -> Result<TcpStream, String> {
        let address = self.address.as_str();
        let found = lookup_host((address, self.port)).await;
        let found = found.map_err(|e| format!("resolve {address}: {}", io_words(&e)))?;
        watch.enter(Phase::Connect);
        let mut failed = format!("resolve {address}: it has no address");
        for socket in found {
            match TcpStream::connect(socket).await {
                Ok(stream) => {
                    // Without it small requests may wait for an acknowledgement; if it fails they do.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(error) => failed = format!("connect to {socket}: {}", io_words(&error)),
            }
        }
        Err(failed)
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
