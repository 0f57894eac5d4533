//! The two messages of `grpc.health.v1`, and gRPC's framing. Pure.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

/// Compressed or not, and the length.
const FRAME_BYTES: usize = 5;

/// `HealthCheckRequest`.
#[derive(Clone, PartialEq, Eq, Message)]
struct Question {
    #[prost(string, tag = "1")]
    service: String,
}

/// `HealthCheckResponse`.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
struct Answer {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// A framed question about `service`.
pub(super) fn question(service: &str) -> Bytes {
    let question = Question { service: service.to_owned() };
    let length = question.encoded_len();
    let mut frame = BytesMut::with_capacity(FRAME_BYTES + length);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    frame.put_slice(&question.encode_to_vec());
    frame.freeze()
}

/// The status in a framed answer.
///
/// # Errors
/// In words, when it is not one whole message.
pub(super) fn answer(frame: &[u8]) -> Result<i32, String> {
    let Some((head, message)) = frame.split_at_checked(FRAME_BYTES) else {
        return Err(format!("the answer is {} bytes: no message", frame.len()));
    };
    if head[0] != 0 {
        return Err("the answer is compressed, which was not asked for".to_owned());
    }
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    if usize::try_from(length) != Ok(message.len()) {
        return Err(format!("the answer says {length} bytes and has {}", message.len()));
    }
    Answer::decode(message).map(|answer| answer.status).map_err(|e| format!("the answer: {e}"))
}

/// `grpc-message` without its percent signs.
pub(super) fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match hex.and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames() {
        assert_eq!(question("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(question("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        assert_eq!(answer(&[0, 0, 0, 0, 2, 8, 1]), Ok(1));
        assert_eq!(answer(&[0, 0, 0, 0, 0]), Ok(0));
        for (frame, words) in [
            (&[][..], "the answer is 0 bytes: no message"),
            (&[1, 0, 0, 0, 0], "the answer is compressed, which was not asked for"),
            (&[0, 0, 0, 0, 9, 8], "the answer says 9 bytes and has 1"),
        ] {
            assert_eq!(answer(frame).expect_err(words), words);
        }
        assert!(answer(&[0, 0, 0, 0, 1, 255]).is_err());
    }

    #[test]
    fn messages_are_decoded() {
        assert_eq!(decoded("unknown%20service%E2%80%A6 100% %zz"), "unknown service… 100% %zz");
    }
}
