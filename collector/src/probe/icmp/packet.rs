//! Echo requests and their replies as bytes (RFC 792, RFC 4443 §4). Pure.

/// ICMP's header before the payload.
pub(super) const HEADER_BYTES: usize = 8;
/// An IPv4 header without options.
const IPV4_BYTES: usize = 20;
/// Hops of a packet whose header is ours, unless the check says otherwise.
const HOPS: u8 = 64;
/// ICMP's number as a protocol of IPv4.
const PROTOCOL: u8 = 1;

/// Which IP carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V4,
    V6,
}

impl Version {
    const fn request(self) -> u8 {
        match self {
            Self::V4 => 8,
            Self::V6 => 128,
        }
    }

    const fn reply(self) -> u8 {
        match self {
            Self::V4 => 0,
            Self::V6 => 129,
        }
    }
}

/// An echo request, its checksum set for IPv4; for IPv6 the kernel sets it.
pub(super) fn request(version: Version, id: u16, sequence: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![version.request(), 0, 0, 0];
    packet.extend(id.to_be_bytes());
    packet.extend(sequence.to_be_bytes());
    packet.extend(payload);
    if version == Version::V4 {
        let sum = checksum(&packet);
        packet[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    packet
}

/// An IPv4 header that forbids fragments, before an ICMP packet. The kernel fills in the source, the id and the
/// checksum.
pub(super) fn unfragmented(packet: &[u8], to: std::net::Ipv4Addr, hops: Option<u8>) -> Vec<u8> {
    const DONT_FRAGMENT: u8 = 0x40;
    let length = u16::try_from(IPV4_BYTES + packet.len()).unwrap_or(u16::MAX);
    let mut whole = vec![0x45, 0];
    whole.extend(length.to_be_bytes());
    whole.extend([0, 0, DONT_FRAGMENT, 0, hops.unwrap_or(HOPS), PROTOCOL, 0, 0, 0, 0, 0, 0]);
    whole.extend(to.octets());
    whole.extend(packet);
    whole
}

/// Whether `packet` echoes our request. A socket without privileges has an id of the kernel's, and gets the replies
/// to it alone: then `id` is none.
pub(super) fn echoes(
    version: Version,
    packet: &[u8],
    id: Option<u16>,
    sequence: u16,
    payload: &[u8],
) -> bool {
    packet.len() == HEADER_BYTES + payload.len()
        && packet[0] == version.reply()
        && packet[1] == 0
        && id.is_none_or(|id| packet[4..6] == id.to_be_bytes())
        && packet[6..8] == sequence.to_be_bytes()
        && packet[HEADER_BYTES..] == *payload
}

/// What is behind the IPv4 header that raw sockets show.
pub(super) fn behind_header(packet: &[u8]) -> &[u8] {
    let length = packet.first().map_or(0, |first| usize::from(first & 0x0f) * 4);
    packet.get(length.max(IPV4_BYTES)..).unwrap_or_default()
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| {
        u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or_default()]))
    });
    // At most 32,767 words of 16 bits: no overflow.
    let mut sum: u32 = words.sum();
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_replies() {
        let request = request(Version::V4, 0x1234, 7, b"abc");
        assert_eq!(request[..2], [8, 0]);
        assert_eq!(checksum(&request), 0, "a packet with its checksum sums up to nothing");
        let mut reply = request.clone();
        reply[0] = 0;
        let ours =
            |id, sequence, payload: &[u8]| echoes(Version::V4, &reply, id, sequence, payload);
        assert!(ours(Some(0x1234), 7, b"abc") && ours(None, 7, b"abc"));
        assert!(!ours(Some(1), 7, b"abc") && !ours(None, 8, b"abc") && !ours(None, 7, b"abd"));
        assert!(!echoes(Version::V4, &request, None, 7, b"abc"), "a request is no reply");
        assert!(!echoes(Version::V4, &[], None, 7, b""));
        let whole = unfragmented(&request, [127, 0, 0, 1].into(), None);
        assert_eq!(whole[..10], [0x45, 0, 0, 31, 0, 0, 0x40, 0, 64, 1]);
        assert_eq!(behind_header(&whole), request);
        assert_eq!(behind_header(&[]), b"");
    }
}
