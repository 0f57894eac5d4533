//! For the fuzzer: a connection's bytes, in pieces, must come out as they do in one.

use super::{Filter, hpack};

/// The first byte says how long the pieces are.
pub(crate) fn connection(data: &[u8]) {
    let Some((size, bytes)) = data.split_first() else { return };
    drop(hpack::without_scheme(bytes));
    let stream = [super::PREFACE, bytes].concat();
    let (mut whole, mut pieces) = (Vec::new(), Vec::new());
    Filter::new().push(&stream, &mut whole);
    let mut filter = Filter::new();
    stream.chunks(usize::from(*size).max(1)).for_each(|piece| filter.push(piece, &mut pieces));
    assert_eq!(whole, pieces);
}
