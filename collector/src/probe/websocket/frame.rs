//! Frames of a WebSocket (RFC 6455 §5): ours are masked and whole, the server's may come in pieces.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

use crate::probe::connect::io_words;

/// Longest message that is read.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Most messages that are read in search of the expected one.
pub(super) const MESSAGES_MAX: usize = 1_000;
/// Most frames of one message, and most pings and pongs between.
const FRAMES_MAX: usize = 10_000;

pub(super) const TEXT: u8 = 1;
pub(super) const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Sends a frame that is a whole message.
pub(super) async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    opcode: u8,
    payload: &[u8],
    mask: [u8; 4],
) -> io::Result<()> {
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    stream.write_all(&frame).await?;
    stream.flush().await
}

/// Reads the next message, text or binary; pings on the way are answered.
pub(super) async fn read_message<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut BufReader<S>,
    mask: impl Fn() -> Result<[u8; 4], String>,
) -> Result<Vec<u8>, String> {
    let mut message = Vec::new();
    for _ in 0..FRAMES_MAX {
        let room = MESSAGE_BYTES_MAX - message.len();
        let (is_last, opcode, payload) = read(stream, room).await?;
        match opcode {
            CLOSE => return Err(closed(&payload)),
            PING => {
                let sent = write(stream.get_mut(), PONG, &payload, mask()?).await;
                sent.map_err(|e| format!("the connection broke: {}", io_words(&e)))?;
            }
            PONG => {}
            0..=2 => {
                message.extend_from_slice(&payload);
                if is_last {
                    return Ok(message);
                }
            }
            other => return Err(format!("it sent a frame with opcode {other}: there is none")),
        }
    }
    Err(format!("no message within {FRAMES_MAX} frames"))
}

/// Whether it is a message's last frame, its opcode, its payload.
async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    room: usize,
) -> Result<(bool, u8, Vec<u8>), String> {
    let broke = |e: io::Error| format!("the connection broke: {}", io_words(&e));
    let first = stream.read_u8().await.map_err(broke)?;
    let second = stream.read_u8().await.map_err(broke)?;
    if second & 0x80 != 0 {
        return Err("it sent a masked frame: only clients do".to_owned());
    }
    let length = match second {
        126 => stream.read_u16().await.map_err(broke)?.into(),
        127 => stream.read_u64().await.map_err(broke)?,
        short => short.into(),
    };
    let length = usize::try_from(length).ok().filter(|length| *length <= room);
    let length = length
        .ok_or_else(|| format!("it sent a message of more than {MESSAGE_BYTES_MAX} bytes"))?;
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await.map_err(broke)?;
    Ok((first & 0x80 != 0, first & 0x0f, payload))
}

fn closed(payload: &[u8]) -> String {
    match payload.split_first_chunk::<2>() {
        None => "it closed the WebSocket".to_owned(),
        Some((code, reason)) => {
            let (code, reason) = (u16::from_be_bytes(*code), String::from_utf8_lossy(reason));
            format!("it closed the WebSocket: {code} {reason}").trim_end().to_owned()
        }
    }
}
