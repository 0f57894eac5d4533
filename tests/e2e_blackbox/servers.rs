//! Further servers: DNS over TLS, SMTP with STARTTLS, gRPC with TLS, and a forward proxy.

use std::{
    fs,
    io::{self, BufRead, BufReader, Write},
    net::{Shutdown, TcpListener, TcpStream},
    path::Path,
    process::Command,
    thread,
};

use crate::common::{mail::python, pki::Pair, process::Process};

/// An unbound that knows `www.test`, over TLS alone.
pub(crate) fn unbound(dir: &Path, port: &str, pair: &Pair) -> Process {
    let dir = dir.join("unbound");
    fs::create_dir(&dir).expect("unbound's folder");
    let here = dir.display();
    let configuration = format!(
        "server:\n do-daemonize: no\n username: \"\"\n chroot: \"\"\n directory: \"{here}\"\n \
         pidfile: \"{here}/pid\"\n use-syslog: no\n interface: 127.0.0.1@{port}\n tls-port: {port}\n \
         tls-service-key: {:?}\n tls-service-pem: {:?}\n module-config: \"iterator\"\n \
         local-zone: \"test.\" static\n local-data: \"www.test. 300 IN A 127.0.0.7\"\n\
         remote-control:\n control-enable: no\n",
        pair.key, pair.cert
    );
    fs::write(dir.join("unbound.conf"), configuration).expect("unbound's configuration");
    let mut command = Command::new("/usr/sbin/unbound");
    command.arg("-d").arg("-c").arg(dir.join("unbound.conf"));
    Process::spawn("unbound", command, &dir.join("log"))
}

pub(crate) fn smtp(dir: &Path, address: &str, pair: &Pair) -> Process {
    let mut command = Command::new(python());
    command.args(["-m", "aiosmtpd", "-n", "-l", address]);
    command.arg("--tlscert").arg(&pair.cert).arg("--tlskey").arg(&pair.key);
    Process::spawn("aiosmtpd", command, &dir.join("smtp.log"))
}

pub(crate) fn etcd(dir: &Path, client: &str, peer: &str, pair: &Pair) -> Process {
    let (client, peer) = (format!("https://{client}"), format!("http://{peer}"));
    let mut command = Command::new("etcd");
    command.arg("--data-dir").arg(dir.join("etcd")).args(["--log-level", "error"]);
    command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
    command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
    command.arg("--initial-cluster").arg(format!("default={peer}"));
    command.arg("--cert-file").arg(&pair.cert).arg("--key-file").arg(&pair.key);
    Process::spawn("etcd", command, &dir.join("etcd.log"))
}

/// A forward proxy. Ends with the test's process.
pub(crate) fn proxy() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // An error means that one of both has gone.
            thread::spawn(move || forward(stream));
        }
    });
    address
}

/// One request, or one tunnel.
fn forward(mut stream: TcpStream) -> io::Result<()> {
    let mut reading = BufReader::new(stream.try_clone()?);
    let (mut first, mut head) = (String::new(), String::new());
    reading.read_line(&mut first)?;
    while !head.ends_with("\r\n\r\n") && head != "\r\n" {
        if reading.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let mut words = first.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let plain = target.strip_prefix("http://").unwrap_or(target);
    let (place, path) = plain.split_once('/').unwrap_or((plain, ""));
    let Ok(mut there) = TcpStream::connect(place) else {
        return stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n");
    };
    if method == "CONNECT" {
        stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    } else {
        there.write_all(format!("{method} /{path} HTTP/1.1\r\n{head}").as_bytes())?;
    }
    let mut back = there.try_clone()?;
    let answering = thread::spawn(move || {
        let copied = io::copy(&mut back, &mut stream);
        let _ = stream.shutdown(Shutdown::Write);
        copied
    });
    io::copy(&mut reading, &mut there)?;
    there.shutdown(Shutdown::Write)?;
    let _ = answering.join();
    Ok(())
}
