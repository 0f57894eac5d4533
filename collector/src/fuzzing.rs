//! What reads bytes that others made, as functions of those bytes that must not panic, for `cargo fuzz` (`collector/fuzz`)
//! and for property tests.

#![allow(unreachable_pub, missing_docs, reason = "a door for the fuzzer only")]

use std::{sync::Arc, time::Duration};

use watchkeep_series::{
    Histogram, HistogramSample, Labels, Points, Sample, decode_histograms,
    promql::{Engine, EngineOptions, Expr, MemorySeries},
};

use crate::{
    blackbox::Modules,
    exposition::{Format, Page},
};

/// A metrics page, in both formats: line numbers are never beyond the page, names never empty or twice.
pub fn exposition(page: &[u8]) {
    let lines_max = page.iter().filter(|b| **b == b'\n').count() as u64 + 1;
    for format in [Format::Text, Format::OpenMetrics] {
        for line in Page::new(page, format) {
            match line {
                Ok(line) => {
                    assert!(!line.name.is_empty());
                    for (at, (name, _)) in line.labels.iter().enumerate() {
                        assert!(
                            !name.is_empty() && line.labels[..at].iter().all(|(n, _)| n != name)
                        );
                    }
                }
                Err(error) => assert!((1..=lines_max).contains(&error.line), "{error}"),
            }
        }
    }
}

/// The body of a remote write request.
pub fn remote_write(body: &[u8]) {
    let _ = crate::remote_write::decode(body);
}

/// A PromQL expression: what is read can be written and read again, and is answered or refused, at one time and over a
/// range, within its limits.
pub fn promql(text: &str) {
    const END_MS: i64 = 600_000;
    let Ok(expr) = Expr::parse(text) else { return };
    assert!(Expr::parse(&expr.to_string()).is_ok(), "{text} is written as {expr}");
    let mut memory = MemorySeries::new();
    let histogram = Histogram::parse("{{count:4 sum:5 buckets:[1 2 1]}}").map(Arc::new);
    for job in ["a", "b"] {
        let labels = Labels::new([("__name__", "up"), ("job", job), ("le", "1")]);
        let mut points = Points { labels, ..Points::default() };
        for timestamp_ms in (0..=END_MS).step_by(30_000) {
            match &histogram {
                Ok(value) if timestamp_ms % 120_000 == 0 => {
                    points.histograms.push(HistogramSample { timestamp_ms, value: value.clone() });
                }
                _ => points.floats.push(Sample { timestamp_ms, value: timestamp_ms as f64 }),
            }
        }
        memory.insert(points);
    }
    let options =
        EngineOptions { experimental: true, samples_max: 20_000, ..EngineOptions::default() };
    let engine = Engine::new(options);
    let _ = engine.instant(&memory, &expr, END_MS, &|| false);
    let _ = engine.range(&memory, &expr, 0, END_MS, 60_000, &|| false);
}

/// Native histograms as the series store keeps them.
pub fn histograms(data: &[u8]) {
    for (_, histogram) in decode_histograms(data).into_iter().flatten() {
        let _ = (histogram.validate(), histogram.quantile(0.5), histogram.to_string());
    }
}

/// What an HTTP server sends, as version 1.1 and as version 2.
pub fn http_answer(data: &[u8]) {
    crate::probe::http::fuzz::answer(data);
}

/// What a name server answers, behind the question's id.
pub fn dns_answer(data: &[u8]) {
    crate::probe::dns::fuzz::answer(data);
}

/// A file of blackbox_exporter's modules that was read: what is judged good makes checks that are good, or none for this target.
pub fn modules(modules: &Modules, target: &str) {
    if modules.validate().is_err() {
        return;
    }
    for module in modules.modules.values() {
        let Ok(aimed) = module.aim(target, Some("web.test"), Duration::from_secs(1)) else {
            continue;
        };
        assert_eq!(aimed.check.kind_name(), module.prober.map_or("", |prober| prober.as_str()));
        let _ = aimed.check.validate();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    const EVERYTHING: &str = include_str!("../../tests/data/blackbox/everything.yml");

    #[test]
    fn every_module_makes_a_good_check() {
        let modules: super::Modules = serde_saphyr::from_str(EVERYTHING).expect("a good file");
        modules.validate().expect("good modules");
        for (name, module) in &modules.modules {
            let aimed = module.aim("web.test:80", None, super::Duration::from_secs(1));
            let aimed = aimed.unwrap_or_else(|error| panic!("{name}: {error}"));
            aimed.check.validate().unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

        #[test]
        fn no_bytes_make_a_reader_panic(data: Vec<u8>) {
            super::http_answer(&data);
            super::dns_answer(&data);
            super::histograms(&data);
            super::exposition(&data);
            super::remote_write(&data);
            super::promql(&String::from_utf8_lossy(&data));
        }

        #[test]
        fn messages_like_real_ones_do_not_panic(
            flags: u16,
            counts: [u8; 3],
            records in proptest::collection::vec((0..260_u16, any::<Vec<u8>>()), 0..6)
        ) {
            // One question for a.test SOA; names of records are pointers to it.
            let mut bytes = (flags | 0x8000).to_be_bytes().to_vec();
            bytes.extend([0, 1, 0, counts[0] % 4, 0, counts[1] % 3, 0, counts[2] % 3]);
            bytes.extend(*b"\x01a\x04test\x00\x00\x06\x00\x01");
            for (kind, data) in records {
                bytes.extend([0xc0, 12]);
                bytes.extend(kind.to_be_bytes());
                bytes.extend([0, 1, 0, 0, 0, 60]);
                bytes.extend(u16::try_from(data.len()).unwrap_or(0).to_be_bytes());
                bytes.extend(data);
            }
            super::dns_answer(&bytes);
        }

        #[test]
        fn answers_like_real_ones_do_not_panic(
            choice: u8,
            status in 0..1000_u16,
            headers in proptest::collection::vec(
                "(content-length|transfer-encoding|location|last-modified|x-a|content-encoding): (chunked|[0-9]{1,20}|gzip|b|[ -~]{0,12})", 0..6),
            body: Vec<u8>
        ) {
            let head = format!("HTTP/1.1 {status} x\r\n{}\r\n\r\n", headers.join("\r\n"));
            super::http_answer(&[&[choice], head.as_bytes(), &body[..]].concat());
        }

        #[test]
        fn modules_of_pieces_do_not_panic(
            lines in proptest::collection::vec(0..200_usize, 0..40),
            target in "\\PC{0,20}|[-a-z0-9:/@?%.\\[\\]]{0,40}"
        ) {
            let all: Vec<_> = EVERYTHING.lines().collect();
            let text: Vec<_> = lines.iter().map(|at| all[at % all.len()]).collect();
            if let Ok(read) = serde_saphyr::from_str(&text.join("\n")) {
                super::modules(&read, &target);
            }
            let whole: super::Modules = serde_saphyr::from_str(EVERYTHING).expect("a good file");
            super::modules(&whole, &target);
        }
    }
}
