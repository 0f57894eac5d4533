//! The real programs that tests drive: Debian packages, and a Python environment under the target folder.
//!
//! As root they are installed; otherwise the error names what is missing and the command that installs it.

use std::{fs, path::Path};

use crate::command::{program, run, succeeds, target_dir};

/// A Debian package and the file by which we know it is there.
struct Package {
    name: &'static str,
    file: &'static str,
}

/// Everything the tests start, and why.
const PACKAGES: &[Package] = &[
    // The clients that everybody has, and the oracle beside which the registry is measured.
    Package { name: "etcd-client", file: "/usr/bin/etcdctl" },
    Package { name: "etcd-server", file: "/usr/bin/etcd" },
    // Scrapes us and answers the dashboards' queries; brings promtool.
    Package { name: "prometheus", file: "/usr/bin/promtool" },
    // A data source and a rule evaluator that are not Prometheus.
    Package { name: "victoria-metrics", file: "/usr/bin/vmalert" },
    // The oracle of routing and grouping; brings amtool, the client that everybody has.
    Package { name: "prometheus-alertmanager", file: "/usr/bin/amtool" },
    // dig asks the name server.
    Package { name: "bind9-dnsutils", file: "/usr/bin/dig" },
    // Network namespaces, partitions and slow links between members.
    Package { name: "iproute2", file: "/usr/sbin/ip" },
    // Shifts the clock of one member while it runs.
    Package { name: "faketime", file: "/usr/bin/faketime" },
    // The DNS server that is probed, plain and with TLS.
    Package { name: "unbound", file: "/usr/sbin/unbound" },
    // The service that is killed.
    Package { name: "nginx-light", file: "/usr/sbin/nginx" },
    // A TLS server that is not ours; makes keys and signs tokens.
    Package { name: "openssl", file: "/usr/bin/openssl" },
    // What /probe stands in for, and a name server to ask.
    Package { name: "prometheus-blackbox-exporter", file: "/usr/bin/prometheus-blackbox-exporter" },
    Package { name: "dnsmasq-base", file: "/usr/sbin/dnsmasq" },
    // Crate etcd-client compiles its own .proto files with protoc; users' builds need neither.
    Package { name: "protobuf-compiler", file: "/usr/bin/protoc" },
    Package { name: "libprotobuf-dev", file: "/usr/include/google/protobuf/empty.proto" },
    // The database whose primary is killed, with pgbench to write into it.
    Package { name: "postgresql-15", file: "/usr/lib/postgresql/15/bin/pgbench" },
    // Shows mails as a phone does, and presses the button behind their link.
    Package { name: "chromium", file: "/usr/bin/chromium" },
    // Runs aiosmtpd, the mail server that receives the pages.
    Package { name: "python3-venv", file: "/usr/bin/python3" },
];

/// Mail server for tests, what reads our calendars, and what an OTLP receiver is made of; from PyPI, pinned.
const PYTHON_PACKAGES: &[&str] =
    &["aiosmtpd==1.4.6", "icalendar==6.3.1", "grpcio==1.85.3", "opentelemetry-proto==1.45.2"];

/// Stops Debian packages from starting their services when they are installed.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Makes sure of everything.
pub(crate) fn ensure() -> Result<(), String> {
    packages(&PACKAGES.iter().filter(|package| package.is_missing()).collect::<Vec<_>>())?;
    python()
}

/// Without the protobuf compiler the test targets do not even compile.
pub(crate) fn compiler() -> Result<(), String> {
    if succeeds("protoc", &["--version"]) {
        return Ok(());
    }
    Err("protoc is missing: crate etcd-client, which the tests use, needs it to compile.\n\
         Install it with: cargo xtask peers"
        .to_owned())
}

impl Package {
    fn is_missing(&self) -> bool {
        match self.name {
            // Any Python that can make an environment will do.
            "python3-venv" => !succeeds("python3", &["-c", "import venv, ensurepip"]),
            _ => !Path::new(self.file).exists(),
        }
    }
}

fn packages(missing: &[&Package]) -> Result<(), String> {
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(|package| package.name).collect();
    let by_hand = format!(
        "missing for the tests: {names}\ninstall by hand, as root: \
         apt-get update && apt-get install -y --no-install-recommends {names}",
        names = names.join(" ")
    );
    if !is_root() {
        return Err(by_hand);
    }
    if !Path::new(POLICY).exists() {
        forbid_services().map_err(|error| format!("{POLICY}: {error}\n{by_hand}"))?;
    }
    let mut install = vec!["install", "-y", "--no-install-recommends"];
    install.extend(&names);
    for args in [vec!["update"], install] {
        let mut command = program("apt-get", &args);
        command.env("DEBIAN_FRONTEND", "noninteractive");
        run(command).map_err(|error| format!("{error}\n{by_hand}"))?;
    }
    match missing.iter().find(|package| package.is_missing()) {
        Some(package) => {
            Err(format!("{} is installed but {} is not there", package.name, package.file))
        }
        None => Ok(()),
    }
}

fn forbid_services() -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::write(POLICY, "#!/bin/sh\nexit 101\n")?;
    fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755))
}

fn is_root() -> bool {
    let id = program("id", &["-u"]).output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn python() -> Result<(), String> {
    let venv = target_dir().join("venv");
    let python = venv.join("bin/python");
    let (venv, python) = (venv.display().to_string(), python.display().to_string());
    if succeeds(&python, &["-c", "import aiosmtpd, icalendar, grpc, opentelemetry.proto"]) {
        return Ok(());
    }
    let mut install = vec!["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    install.extend(PYTHON_PACKAGES);
    run(program("python3", &["-m", "venv", &venv]))
        .and_then(|()| run(program(&python, &install)))
        .map_err(|error| {
            format!("{error}\nmissing for the tests, from PyPI: {}", PYTHON_PACKAGES.join(" "))
        })
}
