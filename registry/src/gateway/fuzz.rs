//! For the fuzzer: JSON for any method.

use std::sync::OnceLock;

use prost_reflect::DescriptorPool;

use super::{json::Codec, requests, routes::ROUTES};

/// The first byte chooses the method, the rest is its body.
pub(crate) fn json(data: &[u8]) {
    static CODECS: OnceLock<Vec<Codec>> = OnceLock::new();
    let codecs = CODECS.get_or_init(|| {
        let pool = DescriptorPool::decode(watchkeep_api::DESCRIPTORS).expect("descriptors");
        let codec = |(_, service, method): &(_, &str, &str)| Codec::new(&pool, service, method);
        ROUTES.iter().filter_map(codec).collect()
    });
    let Some((method, body)) = data.split_first() else { return };
    let codec = &codecs[usize::from(*method) % codecs.len()];
    drop(codec.decode(body));
    if let Ok(Some(length)) = requests::whole(body, true) {
        assert!(length <= body.len());
        drop(codec.decode(&body[..length]));
    }
    drop(codec.encode(&bytes::Bytes::copy_from_slice(body)));
}
