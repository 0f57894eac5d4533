//! A socket for echo requests to one address.
//!
//! Linux gives one to groups in `net.ipv4.ping_group_range` without any privilege; it chooses the id, and sees only the
//! replies to its own requests. A raw socket needs `CAP_NET_RAW` and sees everything that the address sends.

use std::{
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr},
    os::fd::AsRawFd,
};

use nix::{
    cmsg_space,
    sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt},
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{io::Interest, net::UdpSocket};

use super::packet;
use crate::probe::connect::io_words;

/// Largest packet there is.
const PACKET_BYTES_MAX: usize = 1 << 16;

/// Something that came from the address.
pub(super) struct Received {
    /// From ICMP's header on.
    pub(super) packet: Vec<u8>,
    /// Hops that were left.
    pub(super) hop_limit: Option<i32>,
}

pub(super) struct EchoSocket {
    /// To tokio a datagram is a datagram, whatever its protocol.
    socket: UdpSocket,
    raw: bool,
    v4: bool,
}

impl EchoSocket {
    /// Opens one to `to`, from `source` if there is one. With `dont_fragment` on IPv4 the caller makes the IP header.
    ///
    /// # Errors
    /// In words, when the system gives none.
    pub(super) fn open(
        to: IpAddr,
        source: Option<SocketAddr>,
        ttl: Option<u8>,
        dont_fragment: bool,
    ) -> Result<Self, String> {
        let v4 = to.is_ipv4();
        let (domain, protocol) =
            if v4 { (Domain::IPV4, Protocol::ICMPV4) } else { (Domain::IPV6, Protocol::ICMPV6) };
        let own_header = dont_fragment && v4;
        let open = |kind| Socket::new(domain, kind, Some(protocol));
        let unprivileged = if own_header { None } else { open(Type::DGRAM).ok() };
        let raw = unprivileged.is_none();
        let socket = match unprivileged {
            Some(socket) => socket,
            None => open(Type::RAW).map_err(|e| {
                format!(
                    "no socket for ICMP: {}; give the collector CAP_NET_RAW, or its group in \
                     net.ipv4.ping_group_range",
                    io_words(&e)
                )
            })?,
        };
        let set = || -> io::Result<UdpSocket> {
            socket.set_nonblocking(true)?;
            if own_header {
                socket.set_header_included_v4(true)?;
            } else if let Some(hops) = ttl {
                if v4 {
                    socket.set_ttl_v4(hops.into())?;
                } else {
                    socket.set_unicast_hops_v6(hops.into())?;
                }
            }
            if v4 {
                setsockopt(&socket, sockopt::Ipv4RecvTtl, &true)?;
            } else {
                setsockopt(&socket, sockopt::Ipv6RecvHopLimit, &true)?;
            }
            if let Some(source) = source {
                socket.bind(&source.into())?;
            }
            // Connected, it hears of errors, and of nobody else.
            socket.connect(&SocketAddr::new(to, 0).into())?;
            UdpSocket::from_std(socket.into())
        };
        let socket = set().map_err(|e| format!("no socket for ICMP to {to}: {}", io_words(&e)))?;
        Ok(Self { socket, raw, v4 })
    }

    /// Whether requests get an id of the kernel's.
    pub(super) fn has_own_id(&self) -> bool {
        !self.raw
    }

    pub(super) async fn send(&self, packet: &[u8]) -> Result<(), String> {
        self.socket.send(packet).await.map(drop).map_err(|e| io_words(&e))
    }

    pub(super) async fn receive(&self) -> Result<Received, String> {
        loop {
            self.socket.readable().await.map_err(|e| io_words(&e))?;
            match self.socket.try_io(Interest::READABLE, || self.read()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                received => return received.map_err(|e| io_words(&e)),
            }
        }
    }

    fn read(&self) -> io::Result<Received> {
        let mut bytes = vec![0; PACKET_BYTES_MAX];
        let mut control = cmsg_space!(i32);
        let (length, hop_limit) = {
            let mut parts = [IoSliceMut::new(&mut bytes)];
            let message = recvmsg::<()>(
                self.socket.as_raw_fd(),
                &mut parts,
                Some(&mut control),
                MsgFlags::empty(),
            )?;
            let hops = message.cmsgs()?.find_map(|message| match message {
                ControlMessageOwned::Ipv4Ttl(hops) | ControlMessageOwned::Ipv6HopLimit(hops) => {
                    Some(hops)
                }
                _ => None,
            });
            (message.bytes, hops)
        };
        bytes.truncate(length);
        let packet =
            if self.raw && self.v4 { packet::behind_header(&bytes).to_vec() } else { bytes };
        Ok(Received { packet, hop_limit })
    }
}
