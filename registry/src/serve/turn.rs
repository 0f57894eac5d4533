//! What a connection writes goes out when its turn is over, in one piece. HTTP/2 writes a large message, and what ends its
//! stream, apart; and each stream's message apart from the next one's.
//!
//! ```text
//! a stream has something ─wakes▶ connection ─▶ gives way to all who are ready ─▶ hyper writes, into memory ─▶ one write
//! ```

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Most that is kept until the turn is over; memory of this size is given back after it.
const KEPT_BYTES_MAX: usize = 32 << 10;

/// A stream whose writes are kept until [`Turns`] sends them on.
pub(super) struct Corked<S>(Arc<Mutex<Kept<S>>>);

struct Kept<S> {
    stream: S,
    bytes: Vec<u8>,
    /// How much of it is sent.
    sent: usize,
    /// Why it could not be sent: whoever writes or reads next is told.
    failed: Option<io::Error>,
}

impl<S> Corked<S> {
    pub(super) fn new(stream: S) -> Self {
        Self(Arc::new(Mutex::new(Kept { stream, bytes: Vec::new(), sent: 0, failed: None })))
    }

    /// The same stream.
    pub(super) fn handle(&self) -> Self {
        Self(Arc::clone(&self.0))
    }

    fn lock(&self) -> MutexGuard<'_, Kept<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: AsyncWrite + Unpin> Kept<S> {
    /// Sends all that is kept.
    fn send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.bytes.len() {
            let left = &self.bytes[self.sent..];
            let sent = ready!(Pin::new(&mut self.stream).poll_write(context, left))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += sent;
        }
        (self.bytes, self.sent) = match std::mem::take(&mut self.bytes) {
            large if large.capacity() > KEPT_BYTES_MAX / 8 => (Vec::new(), 0),
            mut small => {
                small.clear();
                (small, 0)
            }
        };
        Poll::Ready(Ok(()))
    }

    fn send_and_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.send(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn told(&mut self) -> io::Result<()> {
        self.failed.take().map_or(Ok(()), Err)
    }

    /// Keeps what there is room for. More than would ever fit goes on at once.
    fn write(
        &mut self,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.told()?;
        if self.bytes.len() >= KEPT_BYTES_MAX {
            ready!(self.send(context))?;
        }
        let total: usize = pieces.iter().map(|piece| piece.len()).sum();
        if self.bytes.is_empty() && total >= KEPT_BYTES_MAX {
            return Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        }
        let before = self.bytes.len();
        for piece in pieces {
            let room = KEPT_BYTES_MAX - self.bytes.len();
            self.bytes.extend_from_slice(&piece[..piece.len().min(room)]);
        }
        Poll::Ready(Ok(self.bytes.len() - before))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Corked<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut kept = self.lock();
        if let Some(error) = kept.failed.take() {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut kept.stream).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Corked<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.lock().write(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.lock().write(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // At the end of the turn.
        Poll::Ready(self.lock().told())
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut kept = self.lock();
        ready!(kept.send_and_flush(context))?;
        Pin::new(&mut kept.stream).poll_shutdown(context)
    }
}

/// A connection, turn by turn.
pub(super) struct Turns<F, S> {
    serving: Pin<Box<F>>,
    stream: Corked<S>,
    /// Gives way once each time it is woken, to every task that is ready by then. A connection with many streams is woken by
    /// the first of them that has something to send, and tokio runs at once what a task has woken. Behind the others it finds
    /// what all of them had to say.
    patient: bool,
    has_waited: bool,
}

impl<F, S> Turns<F, S> {
    /// Turns of the future that serves `stream`.
    pub(super) fn new(stream: Corked<S>, serving: F, patient: bool) -> Self {
        Self { serving: Box::pin(serving), stream, patient, has_waited: false }
    }
}

impl<F: Future, S: AsyncWrite + Unpin> Future for Turns<F, S> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        if self.patient && !std::mem::replace(&mut self.has_waited, true) {
            // From within its own turn: to the end of the queue.
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.has_waited = false;
        let served = self.serving.as_mut().poll(context);
        let mut kept = self.stream.lock();
        if let Poll::Ready(Err(error)) = kept.send_and_flush(context) {
            (kept.bytes, kept.sent) = (Vec::new(), 0);
            // Once: whoever serves may neither read nor write for long.
            if kept.failed.replace(error).is_none() {
                context.waker().wake_by_ref();
            }
        }
        served
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
        sync::Notify,
    };

    use super::*;

    /// A stream that notes how long each write was.
    struct Noted(DuplexStream, Arc<Mutex<Vec<usize>>>);

    impl AsyncWrite for Noted {
        fn poll_write(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let written = ready!(Pin::new(&mut self.0).poll_write(context, bytes))?;
            self.1.lock().expect("lock").push(written);
            Poll::Ready(Ok(written))
        }

        fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_flush(context)
        }

        fn poll_shutdown(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_shutdown(context)
        }
    }

    fn corked(pipe_bytes: usize) -> (Corked<Noted>, DuplexStream, Arc<Mutex<Vec<usize>>>) {
        let (near, far) = duplex(pipe_bytes);
        let writes = Arc::<Mutex<Vec<usize>>>::default();
        (Corked::new(Noted(near, Arc::clone(&writes))), far, writes)
    }

    #[tokio::test]
    async fn what_one_turn_writes_is_one_write() {
        let (stream, mut far, writes) = corked(1 << 20);
        let mut writer = stream.handle();
        let serving = async move {
            for word in ["head", "ers", ", data", ", trailers"] {
                writer.write_all(word.as_bytes()).await.expect("write");
                writer.flush().await.expect("flush");
            }
            tokio::task::yield_now().await;
            writer.write_all(b"; more").await.expect("write");
        };
        Turns::new(stream, serving, false).await;
        let mut read = String::new();
        far.read_to_string(&mut read).await.expect("read");
        assert_eq!(read, "headers, data, trailers; more");
        assert_eq!(*writes.lock().expect("lock"), [23, 6]);
    }

    /// Through a pipe of 100 bytes, more at once than is ever kept, in pieces of any size.
    #[tokio::test]
    async fn nothing_is_lost_or_out_of_order() {
        let (stream, mut far, _) = corked(100);
        let all: Vec<u8> = (0..300_000u32).flat_map(|n| n.to_le_bytes()).collect();
        let (mut writer, sent) = (stream.handle(), all.clone());
        let serving = async move {
            let (mut at, mut size) = (0, 1);
            while at < sent.len() {
                let end = (at + size).min(sent.len());
                let pieces = [
                    IoSlice::new(&sent[at..at + (end - at) / 2]),
                    IoSlice::new(&sent[at + (end - at) / 2..end]),
                ];
                at += poll_fn(|cx| Pin::new(&mut writer).poll_write_vectored(cx, &pieces))
                    .await
                    .expect("write");
                size = (size * 3 + 1) % 200_003;
            }
            writer.shutdown().await.expect("shutdown");
        };
        let reading = async {
            let mut read = Vec::new();
            far.read_to_end(&mut read).await.expect("read");
            read
        };
        let ((), read) = tokio::join!(Turns::new(stream, serving, true), reading);
        assert!(read == all, "{} bytes of {}", read.len(), all.len());
    }

    #[tokio::test]
    async fn whoever_writes_next_is_told_that_nothing_goes_out() {
        let (stream, far, _) = corked(100);
        drop(far);
        let mut writer = stream.handle();
        let serving = async move {
            writer.write_all(b"lost").await.expect("kept");
            tokio::task::yield_now().await;
            writer.write_all(b"more").await
        };
        let told = Turns::new(stream, serving, false).await;
        assert_eq!(told.expect_err("told").kind(), io::ErrorKind::BrokenPipe);
    }

    /// A stream that takes nothing.
    struct Broken;

    impl AsyncWrite for Broken {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
        }
    }

    #[tokio::test]
    async fn whoever_does_not_ask_is_not_told_again_and_again() {
        let stream = Corked::new(Broken);
        let (mut writer, turns) = (stream.handle(), AtomicUsize::new(0));
        let serving = poll_fn(|context| {
            if turns.fetch_add(1, Ordering::Relaxed) == 0 {
                let kept = Pin::new(&mut writer).poll_write(context, b"lost");
                assert!(matches!(kept, Poll::Ready(Ok(4))));
            }
            Poll::<()>::Pending
        });
        let waited =
            tokio::time::timeout(Duration::from_millis(50), Turns::new(stream, serving, true));
        assert!(waited.await.is_err());
        // The first turn, that after the failure, and the last one, when the time is over.
        let turns = turns.load(Ordering::Relaxed);
        assert!(turns <= 3, "{turns} turns");
    }

    /// Three tasks that each have a word for a fourth, which is woken by the first: it hears all of them at once.
    #[tokio::test]
    async fn a_patient_one_hears_all_who_were_ready() {
        let (woken, words) = (Arc::new(Notify::new()), Arc::new(Mutex::new(Vec::new())));
        let (stream, _far, _) = corked(100);
        let heard = tokio::spawn({
            let (woken, words) = (Arc::clone(&woken), Arc::clone(&words));
            let serving = async move {
                woken.notified().await;
                words.lock().expect("lock").len()
            };
            Turns::new(stream, serving, true)
        });
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        for word in 0..3 {
            let (woken, words) = (Arc::clone(&woken), Arc::clone(&words));
            tokio::spawn(async move {
                words.lock().expect("lock").push(word);
                woken.notify_one();
            });
        }
        assert_eq!(heard.await.expect("heard"), 3);
    }
}
