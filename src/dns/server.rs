//! The sockets: datagrams, and framed messages on connections. What is answered is decided in `answer`.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::anyhow;
use rand::{SeedableRng, rngs::StdRng};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::Semaphore,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use watchkeep_catalog::View;

use super::{
    answer::{Reply, Zone},
    question::Domain,
};
use crate::metrics::DnsMetrics;

/// Connections that are open at once; further ones are closed.
const CONNECTIONS_MAX: usize = 256;
/// A connection on which nobody asks, or takes the answer, for so long is closed.
const IDLE: Duration = Duration::from_secs(10);
/// Longest query by UDP; no question is as long.
const QUERY_BYTES_MAX: usize = 4096;
/// After a socket's error.
const PAUSE: Duration = Duration::from_millis(50);

/// A name server that listens, and answers once it runs.
pub(crate) struct Dns {
    udp: UdpSocket,
    tcp: TcpListener,
    answering: Answering,
}

#[derive(Clone)]
struct Answering {
    zone: Arc<Zone>,
    view: View,
    lots: Arc<Mutex<StdRng>>,
    metrics: DnsMetrics,
}

impl Dns {
    /// Listens at `listen`, by UDP and TCP.
    ///
    /// # Errors
    /// When the port is in use.
    pub(crate) async fn bind(
        listen: SocketAddr,
        domain: Domain,
        ttl_seconds: u32,
        view: View,
        metrics: DnsMetrics,
    ) -> anyhow::Result<Self> {
        let taken = |by: &'static str| {
            move |error: io::Error| {
                anyhow!(
                    "cannot listen on {listen} for DNS by {by}: {error}; stop what uses the port, or choose another in \
                     listen.dns"
                )
            }
        };
        let udp = UdpSocket::bind(listen).await.map_err(taken("UDP"))?;
        let tcp = TcpListener::bind(listen).await.map_err(taken("TCP"))?;
        let zone = Arc::new(Zone { domain, ttl_seconds, listen });
        let lots = Arc::new(Mutex::new(StdRng::from_os_rng()));
        Ok(Self { udp, tcp, answering: Answering { zone, view, lots, metrics } })
    }

    /// Answers until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let Self { udp, tcp, answering } = self;
        let both =
            async { tokio::join!(datagrams(&udp, &answering), connections(&tcp, &answering)) };
        stop.run_until_cancelled(both).await;
    }
}

impl Answering {
    fn answer(&self, request: &[u8], udp: bool) -> Option<Reply> {
        let started = Instant::now();
        let catalog = self.view.now();
        let reply = {
            let mut lots = self.lots.lock().unwrap_or_else(PoisonError::into_inner);
            self.zone.reply(request, udp, &catalog, &mut *lots)
        };
        let Some(reply) = reply else {
            self.metrics.dropped.inc();
            return None;
        };
        let transport = if udp { "udp" } else { "tcp" };
        self.metrics.queries.with_label_values(&[transport, reply.kind, reply.rcode]).inc();
        if reply.is_truncated {
            self.metrics.truncated.inc();
        }
        self.metrics.seconds.observe(started.elapsed().as_secs_f64());
        Some(reply)
    }
}

async fn datagrams(socket: &UdpSocket, answering: &Answering) {
    let mut buffer = vec![0; QUERY_BYTES_MAX];
    loop {
        let (length, from) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                // Also what became of an earlier answer: nobody was there.
                debug!(%error, "DNS by UDP");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        if let Some(reply) = answering.answer(&buffer[..length], true)
            && let Err(error) = socket.send_to(&reply.bytes, from).await
        {
            debug!(%error, %from, "an answer by UDP is not sent");
        }
    }
}

async fn connections(listener: &TcpListener, answering: &Answering) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut tasks = tokio::task::JoinSet::new();
    loop {
        while tasks.try_join_next().is_some() {}
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(%error, "DNS by TCP: no connection is taken");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            answering.metrics.dropped.inc();
            continue;
        };
        let answering = answering.clone();
        tasks.spawn(async move {
            let _place = place;
            if let Err(error) = conversation(stream, &answering).await {
                debug!(%error, "DNS by TCP");
            }
        });
    }
}

/// Each message with its length in two bytes before it (RFC 1035 §4.2.2), until the client has no more.
async fn conversation(mut stream: TcpStream, answering: &Answering) -> io::Result<()> {
    loop {
        let mut length = [0; 2];
        if timeout(IDLE, stream.read_exact(&mut length)).await?.is_err() {
            return Ok(());
        }
        let mut request = vec![0; usize::from(u16::from_be_bytes(length))];
        timeout(IDLE, stream.read_exact(&mut request)).await??;
        let Some(reply) = answering.answer(&request, false) else { return Ok(()) };
        let length = u16::try_from(reply.bytes.len()).map_err(io::Error::other)?;
        let framed = [&length.to_be_bytes()[..], &reply.bytes].concat();
        timeout(IDLE, stream.write_all(&framed)).await??;
    }
}
