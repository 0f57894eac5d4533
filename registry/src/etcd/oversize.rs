//! A message that is too large to be read at all is refused in the words of etcd's gRPC library (grpc-go:
//! `rpc_util.go`, `recv`). tonic's own code for it, `OUT_OF_RANGE`, is what etcd uses for compacted revisions.

use http::HeaderMap;
use tonic::{Code, Status};

/// How tonic begins.
const TOO_LARGE: &str = "Error, decoded message length too large: ";

/// Rewrites that one status in a response's headers.
pub(crate) fn in_etcds_words(headers: &mut HeaderMap) {
    let refused = headers.contains_key(Status::GRPC_STATUS);
    if refused
        && let Some(status) = Status::from_header_map(headers)
        && let Some(status) = rewritten(&status)
    {
        // Headers that hold: the code and the percent-encoded text.
        let _ = status.add_header(headers);
    }
}

fn rewritten(status: &Status) -> Option<Status> {
    let lengths = (status.code() == Code::OutOfRange)
        .then(|| status.message().strip_prefix(TOO_LARGE))
        .flatten()?;
    let mut numbers = lengths.split(|c: char| !c.is_ascii_digit()).filter(|n| !n.is_empty());
    let (found, limit) = (numbers.next()?, numbers.next()?);
    let text = format!("grpc: received message larger than max ({found} vs. {limit})");
    Some(Status::resource_exhausted(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_too_large_is_told_differently() {
        let text = "Error, decoded message length too large: found 2097260 bytes, the limit is: 2097152 bytes";
        let status = rewritten(&Status::out_of_range(text)).expect("too large");
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(
            status.message(),
            "grpc: received message larger than max (2097260 vs. 2097152)"
        );
        assert!(rewritten(&Status::internal(text)).is_none());
        let compacted = "etcdserver: mvcc: required revision has been compacted";
        assert!(rewritten(&Status::out_of_range(compacted)).is_none());
    }
}
