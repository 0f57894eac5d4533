//! Lines out of a stream, none too long and not too many.

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::probe::connect::io_words;

/// Longest line, its end included.
const LINE_BYTES_MAX: usize = 64 << 10;
/// Most that is read in one dialogue.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Most that is read at a time.
const READ_BYTES: usize = 4 << 10;

/// What was read and not yet taken.
#[derive(Debug, Default)]
pub(super) struct Lines {
    buffer: Vec<u8>,
    /// Read in all.
    read: usize,
}

impl Lines {
    /// The next line without its end; what stands before the end of the stream is a line, too. None: there is no more.
    ///
    /// # Errors
    /// In words, when reading fails or something is too long.
    pub(super) async fn next<S>(&mut self, stream: &mut S) -> Result<Option<Vec<u8>>, String>
    where
        S: AsyncRead + Unpin,
    {
        let mut searched = 0;
        loop {
            let found = self.buffer[searched..].iter().position(|byte| *byte == b'\n');
            if let Some(at) = found {
                return Ok(Some(self.take(searched + at + 1)));
            }
            searched = self.buffer.len();
            if searched >= LINE_BYTES_MAX {
                return Err(format!("a line is longer than {LINE_BYTES_MAX} bytes"));
            }
            if self.read >= ANSWER_BYTES_MAX {
                return Err(format!("the answers are longer than {ANSWER_BYTES_MAX} bytes"));
            }
            let mut bytes = [0; READ_BYTES];
            let count = stream.read(&mut bytes).await;
            let count = count.map_err(|e| io_words(&e))?;
            if count == 0 {
                return Ok((searched > 0).then(|| self.take(searched)));
            }
            self.read += count;
            self.buffer.extend_from_slice(&bytes[..count]);
        }
    }

    fn take(&mut self, bytes: usize) -> Vec<u8> {
        let mut line: Vec<u8> = self.buffer.drain(..bytes).collect();
        for end in [b'\n', b'\r'] {
            if line.last() == Some(&end) {
                line.pop();
            }
        }
        line
    }

    /// Forgets what was read in plain text and not taken: behind TLS nothing of it counts.
    pub(super) fn clear(&mut self) {
        self.buffer.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_and_their_limits() {
        let mut lines = Lines::default();
        let mut stream: &[u8] = b"one\r\ntwo\n\nlast";
        let mut all = Vec::new();
        while let Some(line) = lines.next(&mut stream).await.expect("a line") {
            all.push(String::from_utf8(line).expect("text"));
        }
        assert_eq!(all, ["one", "two", "", "last"]);

        let long = vec![b'x'; LINE_BYTES_MAX + 1];
        let error = Lines::default().next(&mut &long[..]).await.expect_err("too long");
        assert_eq!(error, "a line is longer than 65536 bytes");

        let (mut lines, many) = (Lines::default(), b"0123456789\n".repeat(100_000));
        let mut stream = &many[..];
        let error = loop {
            match lines.next(&mut stream).await {
                Ok(line) => assert_eq!(line.as_deref(), Some(&b"0123456789"[..])),
                Err(error) => break error,
            }
        };
        assert_eq!(error, "the answers are longer than 1048576 bytes");
    }
}
