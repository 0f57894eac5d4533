//! What reads bytes that others made, as functions of those bytes that must not panic, for `cargo fuzz` (`collector/fuzz`)
//! and for property tests.

#![allow(unreachable_pub, missing_docs, reason = "a door for the fuzzer only")]

use crate::exposition::{Format, Page};

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
