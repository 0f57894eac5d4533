//! Questions to a real DNS server (unbound), by each transport, and to such as are none.

use std::{fs, time::Duration};

use tokio::{
    io::AsyncWriteExt,
    net::{TcpStream, UdpSocket},
};

use super::super::rig::{
    LONG_MS, Pki, SHORT_MS, Server, free_port, mute, probe, prober, resets, said, serve,
};

/// An unbound that knows zone `example`, plain and with TLS.
struct Unbound {
    pki: Pki,
    port: u16,
    tls_port: u16,
    _server: Server,
}

fn unbound() -> Unbound {
    let (pki, port, tls_port) = (Pki::new(), free_port(), free_port());
    let dir = pki.dir.path().display();
    let config = format!(
        r#"
server:
  do-daemonize: no
  username: ""
  chroot: ""
  directory: "{dir}"
  pidfile: "{dir}/pid"
  use-syslog: no
  num-threads: 1
  interface: 127.0.0.1@{port}
  interface: 127.0.0.1@{tls_port}
  tls-port: {tls_port}
  tls-service-key: "{dir}/key.pem"
  tls-service-pem: "{dir}/cert.pem"
  access-control: 127.0.0.0/8 allow
  module-config: "iterator"
  local-zone: "example." static
  local-data: "example. 300 IN SOA ns.example. mail.example. 2026010500 3600 600 86400 60"
  local-data: "example. 300 IN MX 10 mail.example."
  local-data: "web.example. 300 IN A 10.0.0.1"
  local-data: "web.example. 300 IN A 10.0.0.2"
  local-data: 'text.example. 300 IN TXT "v=spf1 -all"'
  local-zone: "refused.example." refuse
remote-control:
  control-enable: no
"#
    );
    fs::write(pki.dir.path().join("unbound.conf"), config).expect("writes");
    let file = pki.path("unbound.conf");
    let server = Server::start("/usr/sbin/unbound", &["-d", "-c", &file], port);
    Unbound { pki, port, tls_port, _server: server }
}

#[tokio::test]
async fn a_real_server() {
    let unbound = unbound();
    let port = unbound.port;
    let ask = |more: &str| format!(r#""dns":{{{more}}}"#);
    for (more, good, reason) in [
        (r#""query_name":"web.example","query_type":"A""#, true, "NOERROR, 2 answers"),
        (
            r#""query_name":"web.example.","query_type":"A","transport":"tcp""#,
            true,
            "NOERROR, 2 answers",
        ),
        (r#""query_name":"none.example","query_type":"A""#, false, "NXDOMAIN, expected NOERROR"),
        (
            r#""query_name":"none.example","query_type":"A","valid_rcodes":["NXDOMAIN","NOERROR"]"#,
            true,
            "NXDOMAIN, 0 answers",
        ),
        (
            r#""query_name":"a.refused.example","query_type":"A""#,
            false,
            "REFUSED, expected NOERROR",
        ),
        (
            r#""query_name":"web.example","query_type":"A","validate_answer_rrs":{"fail_if_matches_regexp":["10\\.0\\.0\\.2$"]}"#,
            false,
            "answer record \"web.example.\\t300\\tIN\\tA\\t10.0.0.2\" matches \"10\\\\.0\\\\.0\\\\.2$\"",
        ),
        (
            r#""query_name":"web.example","query_type":"A","validate_answer_rrs":{"fail_if_not_matches_regexp":["^web\\.example\\.\t300\tIN\tA\t10\\."]}"#,
            true,
            "NOERROR, 2 answers",
        ),
        (
            r#""query_name":"web.example","query_type":"A","validate_answer_rrs":{"fail_if_none_matches_regexp":["10\\.0\\.0\\.3"]}"#,
            false,
            "no answer record matches any of [\"10\\\\.0\\\\.0\\\\.3\"]",
        ),
        (
            r#""query_name":"web.example","query_type":"A","validate_answer_rrs":{"fail_if_all_match_regexp":["10"]}"#,
            true,
            "NOERROR, 2 answers",
        ),
        (
            r#""query_name":"text.example","query_type":"TXT","validate_answer_rrs":{"fail_if_none_matches_regexp":["TXT\t\"v=spf1 -all\"$"]}"#,
            true,
            "NOERROR, 1 answers",
        ),
        (
            r#""query_name":"web.example","query_type":"A","validate_authority_rrs":{"fail_if_none_matches_regexp":["SOA"]}"#,
            false,
            "the authority section has no record, but some have to match",
        ),
    ] {
        let outcome = probe(port, LONG_MS, &ask(more)).await;
        assert_eq!((outcome.good, outcome.reason.as_str()), (good, reason), "{more}");
        assert!(outcome.fact("probe_dns_duration_seconds", &["request"]).is_some_and(|s| s > 0.0));
        assert!(outcome.fact("probe_ip_addr_hash", &[]).is_some());
    }

    let soa = ask(r#""query_name":"example","query_type":"SOA","recursion_desired":false"#);
    let outcome = probe(port, LONG_MS, &soa).await;
    assert_eq!(outcome.fact("probe_dns_serial", &[]), Some(2_026_010_500.0), "{outcome:?}");
    assert_eq!(outcome.fact("probe_dns_answer_rrs", &[]), Some(1.0));
    let missing = ask(r#""query_name":"none.example","query_type":"SOA""#);
    let outcome = probe(port, LONG_MS, &missing).await;
    assert_eq!(outcome.fact("probe_dns_authority_rrs", &[]), Some(1.0));
    assert_eq!(outcome.fact("probe_dns_serial", &[]), Some(0.0));

    let over_tls = |tls: &str| {
        ask(&format!(
            r#""query_name":"web.example","query_type":"A","transport":"tls","tls":{tls}"#
        ))
    };
    let outcome = probe(unbound.tls_port, LONG_MS, &over_tls(&unbound.pki.trust())).await;
    assert_eq!((outcome.good, outcome.reason.as_str()), (true, "NOERROR, 2 answers"));
    assert!(outcome.fact("probe_ssl_earliest_cert_expiry", &[]).is_some());
    let (good, reason) = said(unbound.tls_port, LONG_MS, &over_tls("{}")).await;
    let unknown = "TLS with 127.0.0.1:PORT: invalid peer certificate: UnknownIssuer";
    assert_eq!((good, reason.as_str()), (false, unknown));
}

const UDP: &str = r#""dns":{"query_name":"web.example","query_type":"A"}"#;
const TCP: &str = r#""dns":{"query_name":"web.example","query_type":"A","transport":"tcp"}"#;
/// Hears every question and answers none.
async fn silent_datagrams() -> (UdpSocket, u16) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("bind");
    let port = socket.local_addr().expect("address").port();
    (socket, port)
}

/// An answer without records, marked as cut.
fn truncated(question: &[u8]) -> Vec<u8> {
    let mut answer = question.to_vec();
    answer[2] |= 0x82;
    answer
}

#[tokio::test]
async fn an_answer_that_was_cut_says_so() {
    let (good, reason) = said(datagrams(truncated).await, LONG_MS, UDP).await;
    assert_eq!((good, reason.as_str()), (true, "NOERROR, 0 answers, truncated"));
    // Who expects a record does not get it.
    let expects =
        UDP.replace(r#""A""#, r#""A","validate_answer_rrs":{"fail_if_none_matches_regexp":["A"]}"#);
    let (good, reason) = said(datagrams(truncated).await, LONG_MS, &expects).await;
    assert!(!good && reason.starts_with("the answer section has no record"), "{reason}");
}

#[tokio::test]
async fn assertions() {
    let unbound = unbound();
    for (name, assertion, good) in [
        ("web", "rcode == 'NOERROR' && size(answers) == 2", true),
        ("web", "answers.exists(record, record.endsWith('10.0.0.2'))", true),
        ("web", "answers.all(record, record.endsWith('10.0.0.2'))", false),
        ("none", "rcode == 'NXDOMAIN' && answers == []", true),
    ] {
        let kind = format!(
            r#""assertions":[{assertion:?}],"dns":{{"query_name":"{name}.example","query_type":"A","valid_rcodes":["NOERROR","NXDOMAIN"]}}"#
        );
        let outcome = probe(unbound.port, LONG_MS, &kind).await;
        assert_eq!(outcome.good, good, "{assertion}: {}", outcome.reason);
    }
}

const TLS: &str = r#""dns":{"query_name":"web.example","query_type":"A","transport":"tls"}"#;

/// Answers each datagram with what `answer` makes of it.
async fn datagrams(answer: fn(&[u8]) -> Vec<u8>) -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("bind");
    let port = socket.local_addr().expect("address").port();
    tokio::spawn(async move {
        let mut bytes = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut bytes).await {
            let _ = socket.send_to(&answer(&bytes[..length]), from).await;
        }
    });
    port
}

#[tokio::test]
async fn ways_to_fail() {
    let silent = silent_datagrams().await;
    let resets = resets().await;
    let chatters = serve(|mut stream: TcpStream| async move {
        let _ = stream.write_all(b"220 mail.example ESMTP\r\n").await;
        let _ = stream.shutdown().await;
    })
    .await;
    let drips = serve(|mut stream: TcpStream| async move {
        while stream.write_all(&[1]).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let endless = serve(|mut stream: TcpStream| async move {
        while stream.write_all(&[0xff; 4096]).await.is_ok() {}
    })
    .await;
    for (port, timeout_ms, kind, reason) in [
        (free_port(), LONG_MS, UDP, "ask 127.0.0.1:PORT: connection refused"),
        (free_port(), LONG_MS, TCP, "connect to 127.0.0.1:PORT: connection refused"),
        (resets, LONG_MS, TCP, "no answer: connection reset"),
        (resets, LONG_MS, TLS, "TLS with 127.0.0.1:PORT: connection reset"),
        (
            chatters,
            LONG_MS,
            TLS,
            "TLS with 127.0.0.1:PORT: received corrupt message of type InvalidContentType",
        ),
        (silent.1, SHORT_MS, UDP, "no answer within 200 ms"),
        (mute().await, SHORT_MS, TCP, "no answer within 200 ms"),
        (mute().await, SHORT_MS, TLS, "TLS with 127.0.0.1:PORT: no answer within 200 ms"),
        (chatters, LONG_MS, TCP, "the answer broke off: connection closed"),
        (drips, SHORT_MS, TCP, "no whole answer within 200 ms"),
        (datagrams(|_| vec![0; 3]).await, SHORT_MS, UDP, "no answer within 200 ms"),
        // The question itself is no answer.
        (datagrams(<[u8]>::to_vec).await, LONG_MS, UDP, "the answer is none to our question"),
    ] {
        let (good, said) = said(port, timeout_ms, kind).await;
        assert_eq!((good, said.as_str()), (false, reason), "{kind}");
    }
    for (port, kind, start) in [
        (endless, TCP, "the answer (65535 bytes) is no DNS message: "),
        (
            datagrams(|asked| asked[..2].to_vec()).await,
            UDP,
            "the answer (2 bytes) is no DNS message: ",
        ),
    ] {
        let (good, said) = said(port, LONG_MS, kind).await;
        assert!(!good && said.starts_with(start), "{said}");
    }
}

#[test]
fn checks_that_can_never_succeed() {
    for (more, words) in [
        (r#""query_name":"a..b""#, "dns.query_name \"a..b\": "),
        (
            r#""query_name":"a","query_type":"X""#,
            "dns.query_type \"X\": give a type such as A or SOA",
        ),
        (r#""query_name":"a","query_class":"X""#, "dns.query_class \"X\": give IN, CH, HS or ANY"),
        (r#""query_name":"a","valid_rcodes":["OK"]"#, "dns.valid_rcodes has \"OK\": give one of "),
        (
            r#""query_name":"a","validate_answer_rrs":{"fail_if_matches_regexp":["("]}"#,
            "dns.validate_answer_rrs.fail_if_matches_regexp: regex parse error",
        ),
    ] {
        let error = prober(1, LONG_MS, &format!(r#""dns":{{{more}}}"#)).expect_err(words);
        assert!(error.starts_with(words), "{error}");
    }
}
