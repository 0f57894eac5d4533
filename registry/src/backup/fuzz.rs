//! For the fuzzer: a backup out of any bytes, as they are and as the inside of a file whose checksums are right.

use sha2::{Digest, Sha256};

use super::{BackupError, head::Head, verify, write::padding};
use crate::store::fuzz::stream;

/// Verifies both; an error names a place in the file.
pub(crate) fn backup(data: &[u8]) {
    judge(data);
    let mut file = Head::default().encode().to_vec();
    file.extend_from_slice(&stream(data));
    file.resize(file.len() + padding(file.len() as u64), 0);
    let checksum = Sha256::digest(&file);
    file.extend_from_slice(&checksum);
    judge(&file);
}

fn judge(file: &[u8]) {
    match verify("fuzzed", file) {
        Ok(summary) => assert_eq!(summary.bytes, file.len() as u64),
        Err(BackupError::Corrupt { offset, .. }) => assert!(offset <= file.len() as u64),
        Err(error) => panic!("{error}"),
    }
}
