//! Records as zone files and blackbox_exporter show them, so that its regular expressions match here:
//! `name. <tab> TTL <tab> class <tab> type <tab> data`.

use std::fmt::Write;

use hickory_proto::{
    op::Edns,
    rr::{RData, Record},
};

/// One record in one line.
pub(super) fn record(record: &Record) -> String {
    let data = match &record.data {
        RData::TXT(txt) => {
            let strings: Vec<_> = txt.txt_data.iter().map(|text| quoted(text)).collect();
            strings.join(" ")
        }
        RData::CAA(caa) => {
            format!("{} {} {}", caa.flags(), caa.tag, quoted(&caa.value))
        }
        RData::HINFO(info) => format!("{} {}", quoted(&info.cpu), quoted(&info.os)),
        // It has no text of its own.
        RData::OPT(_) | RData::Update0(_) => String::new(),
        other => other.to_string(),
    };
    let name = record.name.to_string();
    let (ttl, class, kind) = (record.ttl, record.dns_class, record.record_type());
    format!("{name}\t{ttl}\t{class}\t{kind}\t{data}")
}

/// The pseudo-record of EDNS, which stands among the additional ones.
pub(super) fn edns(edns: &Edns) -> String {
    format!(
        "\n;; OPT PSEUDOSECTION:\n; EDNS: version {}; flags:; udp: {}",
        edns.version(),
        edns.max_payload()
    )
}

/// In quotes, with what is not printable as `\ddd` (RFC 1035 §5.1).
fn quoted(text: &[u8]) -> String {
    let mut shown = String::with_capacity(text.len() + 2);
    shown.push('"');
    for byte in text {
        match byte {
            b'"' | b'\\' => shown.extend(['\\', char::from(*byte)]),
            b' '..=b'~' => shown.push(char::from(*byte)),
            // Writing to a string succeeds.
            other => drop(write!(shown, "\\{other:03}")),
        }
    }
    shown.push('"');
    shown
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use hickory_proto::rr::{
        Name,
        rdata::{A, MX, SOA, SRV, TXT},
    };

    use super::*;

    #[test]
    fn as_in_a_zone_file() {
        let name = |text| Name::from_str(text).expect("a name");
        let (ns, mail) = (name("ns.example."), name("mail.example."));
        for (data, text) in [
            (RData::A(A::new(10, 0, 0, 1)), "A\t10.0.0.1"),
            (RData::MX(MX::new(10, mail.clone())), "MX\t10 mail.example."),
            (RData::SRV(SRV::new(1, 2, 25, mail.clone())), "SRV\t1 2 25 mail.example."),
            (
                RData::SOA(SOA::new(ns, mail, 7, 1, 2, 3, 4)),
                "SOA\tns.example. mail.example. 7 1 2 3 4",
            ),
            (
                RData::TXT(TXT::from_bytes(vec![b"v=spf1 -all", b"a\"b\\\x07"])),
                "TXT\t\"v=spf1 -all\" \"a\\\"b\\\\\\007\"",
            ),
        ] {
            let shown = record(&Record::from_rdata(name("example."), 300, data));
            assert_eq!(shown, format!("example.\t300\tIN\t{text}"));
        }
    }
}
