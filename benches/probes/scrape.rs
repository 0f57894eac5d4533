//! The load on `/probe`, and the exporter that answers it on the other side.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use super::{
    Effort, Run,
    common::{eventually, http, ports, process::Process},
    cpu::Meter,
};

/// blackbox_exporter. Dropped, it is killed.
pub(crate) struct Exporter {
    pub(crate) address: String,
    process: Process,
}

impl Exporter {
    pub(crate) async fn start(dir: &Path, modules: &Path) -> Self {
        let address = format!("127.0.0.1:{}", ports::free());
        let mut command = Command::new("prometheus-blackbox-exporter");
        command.arg(format!("--config.file={}", modules.display()));
        command.arg(format!("--web.listen-address={address}"));
        let process = Process::spawn("blackbox_exporter", command, &dir.join("exporter.log"));
        let exporter = Self { address, process };
        eventually("blackbox_exporter", Duration::from_secs(10), async || {
            let url = format!("http://{}/-/healthy", exporter.address);
            http::text(http::client().get(url)).await
        })
        .await;
        exporter
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }
}

/// Every client asks again as soon as it is answered, over its own connection.
pub(crate) async fn load(
    door: &str,
    module: &str,
    target: &str,
    meter: &Meter,
    effort: Effort,
) -> Run {
    let url = format!("http://{door}/probe?module={module}&target={target}");
    let (cpu, begin) = (meter.seconds(), Instant::now());
    let until = begin + effort.time;
    let clients = (0..effort.clients).map(|_| tokio::spawn(ask(url.clone(), until)));
    let mut done = 0;
    for client in clients.collect::<Vec<_>>() {
        done += client.await.expect("no probe failed");
    }
    let probes = f64::from(done);
    Run {
        rate: probes / begin.elapsed().as_secs_f64(),
        cpu_us: (meter.seconds() - cpu) / probes * 1e6,
    }
}

async fn ask(url: String, until: Instant) -> u32 {
    let client = reqwest::Client::builder().no_proxy().build().expect("HTTP client");
    let mut done = 0;
    while Instant::now() < until {
        let page = client.get(&url).send().await.expect("an answer").text().await.expect("a page");
        assert!(page.contains("\nprobe_success 1\n"), "{page}");
        done += 1;
    }
    done
}
