//! What reads bytes that others made, as functions of those bytes that must not panic, for `cargo fuzz` (`registry/fuzz`)
//! and for the property tests below. Each judges more than that: what was read is written again and must be the same,
//! what is applied twice must give the same.

#![allow(unreachable_pub, missing_docs, reason = "a door for the fuzzer only")]

pub fn request(data: &[u8]) {
    crate::etcd::fuzz::requests(data);
}

pub fn keys(data: &[u8]) {
    crate::mvcc::fuzz::keys(data);
}

pub fn log(data: &[u8]) {
    crate::wal::fuzz::log(data);
}

pub fn snapshot(data: &[u8]) {
    crate::store::fuzz::snapshot(data);
}

pub fn backup(data: &[u8]) {
    crate::backup::fuzz::backup(data);
}

pub fn gateway(data: &[u8]) {
    crate::gateway::fuzz::json(data);
}

pub fn authority(data: &[u8]) {
    crate::authority::fuzz::connection(data);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

        #[test]
        fn no_bytes_make_a_reader_panic(data: Vec<u8>) {
            super::request(&data);
            super::keys(&data);
            super::log(&data);
            super::snapshot(&data);
            super::backup(&data);
            super::gateway(&data);
            super::authority(&data);
        }

        #[test]
        fn requests_made_of_fields_do_not_panic(
            parts in proptest::collection::vec((0..8_u8, any::<[i8; 6]>(), "[ab\u{0}]{0,3}"), 0..12)
        ) {
            super::request(&crate::etcd::fuzz::encode(&parts));
        }
    }
}
