//! A stream that its owner gets back from whoever drops it.
//!
//! tungstenite gives of a refused handshake only as much of the body as came with the head, and drops the stream. The
//! body says why it was refused, and may come in the next segment.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream that goes to its [`Reclaim`] when it is dropped.
pub(super) struct Reclaimable<S> {
    // Always there until it is dropped.
    stream: Option<S>,
    back: Arc<Mutex<Option<S>>>,
}

/// Gets the stream back.
pub(super) struct Reclaim<S>(Arc<Mutex<Option<S>>>);

impl<S> Reclaimable<S> {
    pub(super) fn new(stream: S) -> (Self, Reclaim<S>) {
        let back = Arc::default();
        (Self { stream: Some(stream), back: Arc::clone(&back) }, Reclaim(back))
    }
}

impl<S> Reclaim<S> {
    /// `None` while the [`Reclaimable`] lives.
    pub(super) fn take(self) -> Option<S> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<S> Drop for Reclaimable<S> {
    fn drop(&mut self) {
        // When nobody waits for it, the stream is closed here.
        if Arc::strong_count(&self.back) > 1 {
            *self.back.lock().unwrap_or_else(PoisonError::into_inner) = self.stream.take();
        }
    }
}

impl<S: Unpin> Reclaimable<S> {
    fn inner(&mut self) -> io::Result<Pin<&mut S>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Reclaimable<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.inner()?.poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Reclaimable<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.inner()?.poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner()?.poll_shutdown(cx)
    }
}
