//! A connection that lets others go first.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

/// A future that gives way once each time it is woken: to every task that is ready by then. A connection with many streams
/// is woken by the first of them that has something to send, and tokio runs at once what a task has woken: each message
/// would go out in a write of its own. Behind the others it finds what all of them had to say.
pub(super) struct Patient<F> {
    inner: Pin<Box<F>>,
    has_waited: bool,
}

impl<F> Patient<F> {
    pub(super) fn new(inner: F) -> Self {
        Self { inner: Box::pin(inner), has_waited: false }
    }
}

impl<F: Future> Future for Patient<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.has_waited = !self.has_waited;
        if self.has_waited {
            // From within its own turn: to the end of the queue.
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.inner.as_mut().poll(context)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::sync::Notify;

    use super::*;

    /// Three tasks that each have a word for a fourth, which is woken by the first: it hears all of them at once.
    #[tokio::test]
    async fn hears_all_who_were_ready() {
        let (woken, words) = (Arc::new(Notify::new()), Arc::new(Mutex::new(Vec::new())));
        let heard = tokio::spawn(Patient::new({
            let (woken, words) = (Arc::clone(&woken), Arc::clone(&words));
            async move {
                woken.notified().await;
                words.lock().expect("lock").len()
            }
        }));
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
