//! Names to addresses, as the system resolves them. That blocks a thread until the system gives up, long after whoever asked
//! for it has: so with a name server that is away there must be an end to how many are asked for, and room for other
//! work that blocks, such as writing samples to the disk.

use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    sync::Arc,
};

use tokio::{sync::Semaphore, task::spawn_blocking};

/// Lookups at once; further ones wait, as long as whoever asks for them does. Half of tokio's blocking threads.
const LOOKUPS_MAX: usize = 256;

/// Cheap to clone; all clones have the same limit.
#[derive(Debug, Clone)]
pub(crate) struct Resolver(Arc<Semaphore>);

impl Default for Resolver {
    fn default() -> Self {
        Self::with(LOOKUPS_MAX)
    }
}

impl Resolver {
    fn with(lookups_max: usize) -> Self {
        Self(Arc::new(Semaphore::new(lookups_max)))
    }

    /// The addresses of `name`, each with `port`.
    pub(crate) async fn lookup(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if let Ok(ip) = name.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let name = name.to_owned();
        self.run(move || Ok((name.as_str(), port).to_socket_addrs()?.collect())).await
    }

    async fn run<T: Send + 'static>(
        &self,
        lookup: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let turn = self.0.clone().acquire_owned().await.map_err(io::Error::other)?;
        let work = move || {
            // Until it is done, also when nobody waits for it any more.
            let _turn = turn;
            lookup()
        };
        spawn_blocking(work).await.map_err(io::Error::other)?
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use tokio::time::timeout;

    use super::*;

    /// A lookup that nobody waits for any more still takes its turn, until the system gives it up.
    #[tokio::test]
    async fn lookups_that_hang_are_counted() {
        let resolver = Resolver::with(1);
        let (end, ended) = mpsc::channel::<()>();
        let hangs = resolver.run(move || Ok(ended.recv().is_ok()));
        assert!(timeout(Duration::from_millis(50), hangs).await.is_err());
        let named = || resolver.lookup("localhost", 7);
        assert!(timeout(Duration::from_millis(50), named()).await.is_err(), "there is no turn");
        // What needs no lookup needs no turn.
        let address = resolver.lookup("127.0.0.1", 7).await.expect("an address");
        assert_eq!(address, ["127.0.0.1:7".parse().expect("an address")]);
        end.send(()).expect("it waits");
        let found = timeout(Duration::from_secs(10), named()).await.expect("its turn");
        assert!(found.expect("addresses").iter().all(|address| address.port() == 7));
    }
}
