//! Real servers that behave well and badly: nginx, dnsmasq, a node's own gRPC, and sockets of our own.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use crate::{
    common::{eventually, pki::Authority, ports, process::Process},
    servers,
};

pub(crate) struct Targets {
    pub(crate) ca: PathBuf,
    /// Greets and answers as a mail server does.
    pub(crate) banner: String,
    /// Accepts and says nothing.
    pub(crate) mute: String,
    web: String,
    secure: String,
    dns: String,
    /// DNS over TLS.
    dot: String,
    /// Plain requests and tunnels to wherever it is asked.
    proxy: String,
    /// SMTP with STARTTLS.
    mail: String,
    /// An etcd with TLS: it has the health service of gRPC.
    etcd: String,
    /// Nobody listens there.
    closed: String,
    _processes: Vec<Process>,
    _mute: TcpListener,
}

impl Targets {
    pub(crate) async fn start(dir: &Path) -> Self {
        let authority = Authority::new(dir, "ca");
        let pair = authority.issue(dir, "web", &["127.0.0.1", "localhost", "web.test"]);
        let address = || format!("127.0.0.1:{}", ports::free());
        let (web, secure, dns, closed) = (address(), address(), address(), address());
        let (dot, mail, etcd) = (address(), address(), address());
        let processes = vec![
            nginx(dir, &web, &secure, &pair.cert, &pair.key),
            dnsmasq(dir, dns.rsplit_once(':').expect("a port").1),
            servers::unbound(dir, dot.rsplit_once(':').expect("a port").1, &pair),
            servers::smtp(dir, &mail, &pair),
            servers::etcd(dir, &etcd, &address(), &pair),
        ];
        for server in [&web, &secure, &dns, &dot, &mail, &etcd] {
            eventually(server, Duration::from_secs(10), async || {
                TcpStream::connect(server).map(drop).map_err(|e| e.to_string())
            })
            .await;
        }
        let mute = TcpListener::bind("127.0.0.1:0").expect("a port");
        Self {
            ca: authority.file,
            banner: banner(),
            mute: mute.local_addr().expect("bound").to_string(),
            web,
            secure,
            dns,
            dot,
            proxy: servers::proxy(),
            mail,
            etcd,
            closed,
            _processes: processes,
            _mute: mute,
        }
    }

    /// Of the web server.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.web)
    }

    /// Module and target of each case; `grpc` is a server with the health service.
    pub(crate) fn cases(&self, grpc: &str) -> Vec<(&'static str, String)> {
        let (url, secure) = (|path| self.url(path), format!("https://{}/", self.secure));
        let mut cases = vec![
            ("http_2xx", url("/")),
            ("http_2xx", self.web.clone()),
            ("http_2xx", url("/file.txt")),
            ("http_2xx", url("/missing")),
            ("http_404", url("/missing")),
            ("http_2xx", url("/moved")),
            ("http_2xx", url("/loop")),
            ("http_no_follow", url("/moved")),
            ("http_2xx", url("/empty")),
            ("http_post", url("/")),
            ("http_host", url("/")),
            ("http_bearer", url("/")),
            ("http_body", url("/")),
            ("http_body", url("/missing")),
            ("http_body_bad", url("/")),
            ("http_header", url("/")),
            ("http_header", url("/empty")),
            ("http_header_bad", url("/")),
            ("http_version_bad", url("/")),
            ("http_not_ssl", url("/")),
            ("http_gzip", url("/file.txt")),
            ("http_gzip", url("/")),
            ("http_small", url("/")),
            ("http_2xx", format!("http://{}/", self.closed)),
            ("http_2xx", format!("http://{}/", self.banner)),
            ("http_2xx", format!("http://{}/", self.mute)),
            ("http_2xx", format!("http://{}/", self.secure)),
            ("http_2xx", format!("https://{}/", self.web)),
            ("http_2xx", "http://nobody.invalid/".to_owned()),
            ("http_2xx", secure.clone()),
            ("tcp_connect", self.web.clone()),
            ("tcp_connect", self.closed.clone()),
            ("tcp_connect", "127.0.0.1".to_owned()),
            ("tcp_connect", "nobody.invalid:80".to_owned()),
            ("tcp_banner", self.banner.clone()),
            ("tcp_banner", self.closed.clone()),
            ("tcp_banner_bad", self.banner.clone()),
            ("tcp_tls", self.secure.clone()),
            ("tcp_tls", self.web.clone()),
            ("tcp_tls_bad", self.secure.clone()),
            ("dns_absent", self.dns.clone()),
            ("dns_a", self.closed.clone()),
            ("icmp", "127.0.0.1".to_owned()),
            ("icmp", "::1".to_owned()),
            ("icmp", "nobody.invalid".to_owned()),
            ("icmp_ttl", "127.0.0.1".to_owned()),
            ("grpc", grpc.to_owned()),
            ("grpc", self.closed.clone()),
            ("grpc_service", grpc.to_owned()),
        ];
        for module in ["https", "https_h1", "https_name", "https_12"] {
            cases.push((module, secure.clone()));
        }
        for module in ["dns_a", "dns_tcp", "dns_rule", "dns_rule_bad", "dns_nxdomain"] {
            cases.push((module, self.dns.clone()));
        }
        let web_port = self.web.rsplit_once(':').expect("a port").1;
        cases.extend([
            ("http_proxy", url("/")),
            ("http_proxy", url("/missing")),
            ("http_proxy", format!("http://{}/", self.closed)),
            ("http_proxy_gone", url("/")),
            ("https_proxy", secure.clone()),
            ("https_proxy", format!("https://{}/", self.web)),
            ("http_basic", url("/guarded")),
            ("http_basic_bad", url("/guarded")),
            ("http_2xx", url("/guarded")),
            ("http_oauth2", url("/bearer")),
            ("http_2xx", url("/bearer")),
            ("http_oauth2_bad", url("/bearer")),
            ("http_ip6", url("/")),
            ("http_ip6_only", url("/")),
            ("http_ip6", format!("http://localhost:{web_port}/")),
            ("tcp_ip6", self.web.clone()),
            ("icmp_ip6", "127.0.0.1".to_owned()),
            ("icmp_ip6", "localhost".to_owned()),
            ("icmp_ip6_only", "127.0.0.1".to_owned()),
            ("tcp_starttls", self.mail.clone()),
            ("tcp_starttls_bad", self.mail.clone()),
            ("tcp_starttls", self.banner.clone()),
            ("dns_tls", self.dot.clone()),
            ("dns_tls_bad", self.dot.clone()),
            ("dns_tls", self.dns.clone()),
            ("dns_tcp", self.dot.clone()),
            ("grpc_tls", self.etcd.clone()),
            ("grpc_tls_bad", self.etcd.clone()),
            ("grpc_tls", grpc.to_owned()),
            ("grpc", self.etcd.clone()),
        ]);
        cases
    }

    /// The same with a `hostname` beside the target.
    pub(crate) fn named(&self) -> Vec<(&'static str, String, &'static str)> {
        let secure = format!("https://{}/", self.secure);
        vec![
            ("http_2xx", self.url("/"), "other.test"),
            ("https", secure.clone(), "web.test"),
            ("https", secure.clone(), "other.test"),
            ("https_name", secure, "web.test"),
            ("tcp_tls", self.secure.clone(), "web.test"),
            ("tcp_connect", self.web.clone(), "other.test"),
        ]
    }

    /// The modules, with these servers in them.
    pub(crate) fn fill(&self, modules: &str) -> String {
        [
            ("CA_FILE", self.ca.display().to_string()),
            ("PROXY", self.proxy.clone()),
            ("CLOSED", self.closed.clone()),
            ("WEB", self.web.clone()),
        ]
        .iter()
        .fold(modules.to_owned(), |text, (name, value)| text.replace(name, value))
    }

    /// A target in words that are the same in each run.
    pub(crate) fn name(&self, target: &str) -> String {
        [
            (&self.web, "web"),
            (&self.secure, "secure"),
            (&self.dns, "dns"),
            (&self.dot, "dot"),
            (&self.mail, "mail"),
            (&self.etcd, "etcd"),
            (&self.closed, "closed"),
            (&self.banner, "banner"),
            (&self.mute, "mute"),
        ]
        .iter()
        .fold(target.to_owned(), |text, (address, name)| text.replace(address.as_str(), name))
    }
}

fn nginx(dir: &Path, web: &str, secure: &str, cert: &Path, key: &Path) -> Process {
    let dir = dir.join("nginx");
    fs::create_dir(&dir).expect("nginx's folder");
    fs::write(dir.join("file.txt"), "a text that is long enough to be compressed\n".repeat(20))
        .expect("written");
    fs::write(dir.join("users"), "alice:{PLAIN}tiger\n").expect("written");
    let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {}/{kind};", dir.display()))
        .join("\n  ");
    let here = dir.display();
    let configuration = format!(
        "daemon off;\nmaster_process off;\npid {here}/pid;\nerror_log {here}/error.log;\n\
         events {{}}\nhttp {{\n  access_log off;\n  {paths}\n  gzip on;\n  gzip_min_length 20;\n  gzip_types text/plain;\n  \
         default_type text/plain;\n  add_header X-Kind web;\n  server {{\n    \
         listen {web};\n    root {here};\n    location = / {{ return 200 \"welcome\\n\"; }}\n    \
         location = /moved {{ return 302 /file.txt; }}\n    location = /loop {{ return 302 /loop; }}\n    \
         location = /guarded {{ auth_basic here; auth_basic_user_file {here}/users; try_files /file.txt =404; }}\n    \
         location = /token {{ default_type application/json; \
         return 200 '{{\"access_token\":\"lion\",\"token_type\":\"bearer\",\"expires_in\":3600}}'; }}\n    \
         location = /bearer {{ if ($http_authorization != \"Bearer lion\") {{ return 403; }} return 200 \"welcome\\n\"; }}\n    \
         location = /empty {{ add_header X-Kind other; return 204; }}\n  }}\n  server {{\n    listen {secure} ssl http2;\n    \
         ssl_certificate {};\n    ssl_certificate_key {};\n    location / {{ return 200 \"welcome\\n\"; }}\n  }}\n}}\n",
        cert.display(),
        key.display()
    );
    fs::write(dir.join("nginx.conf"), configuration).expect("nginx's configuration");
    let mut command = Command::new("/usr/sbin/nginx");
    command.arg("-p").arg(&dir).arg("-c").arg(dir.join("nginx.conf"));
    command.arg("-e").arg(dir.join("error.log"));
    Process::spawn("nginx", command, &dir.join("log"))
}

fn dnsmasq(dir: &Path, port: &str) -> Process {
    let mut command = Command::new("/usr/sbin/dnsmasq");
    command.args(["--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null"]);
    command.args(["--listen-address=127.0.0.1", "--bind-interfaces", "--user=root", "--pid-file="]);
    command.args(["--local=/test/", "--host-record=www.test,127.0.0.7"]);
    command.arg(format!("--port={port}"));
    Process::spawn("dnsmasq", command, &dir.join("dnsmasq.log"))
}

/// Greets, answers one line, and closes when the other does. Ends with the test's process.
fn banner() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || greet(stream));
        }
    });
    address
}

/// An error means that the other has gone.
fn greet(mut stream: TcpStream) {
    let _ = stream.write_all(b"220-wait\r\n220 mail.test ESMTP\r\n");
    let Ok(reading) = stream.try_clone() else { return };
    for line in BufReader::new(reading).lines() {
        let Ok(line) = line else { return };
        let answer = match line.strip_prefix("HELO ") {
            Some(name) => format!("250 hello {name}\r\n"),
            None => "500 what?\r\n".to_owned(),
        };
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}
