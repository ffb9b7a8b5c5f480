//! The end of a tunnel whose session has ended: a frame that says why, the end of the stream, a moment for the client.

use super::frames::{self, Frames};
use pingora::protocols::Stream;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::time::{Sleep, sleep};

/// For so long the client may still talk, unheard: a connection that is closed with bytes unread is reset, and the frame
/// that we have just sent might be lost by that.
const LINGER: Duration = Duration::from_millis(500);

/// A tunnel, as far as it must be known to end it as a WebSocket ends.
#[derive(Debug)]
pub(super) struct Tunnel {
    frames: Frames,
    code: u16,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Open,
    /// The frame goes out; so much of it has.
    Closing(Vec<u8>, usize),
    /// The end of the stream goes out.
    Ending,
    Lingering(Pin<Box<Sleep>>),
}

impl Tunnel {
    /// A tunnel that ends with this code.
    pub(super) const fn new(code: u16) -> Self {
        Self { frames: Frames::new(), code, stage: Stage::Open }
    }

    /// Takes notice of bytes that the backend has sent.
    pub(super) fn saw(&mut self, bytes: &[u8]) {
        self.frames.saw(bytes);
    }

    /// Whether the client can be told; within a frame of the backend's it cannot.
    pub(super) const fn can_say_farewell(&self) -> bool {
        !matches!(self.stage, Stage::Open) || self.frames.stand_between()
    }

    /// Says farewell over the client's stream; ready when nothing more is to be done.
    ///
    /// # Errors
    /// When the client is gone.
    pub(super) fn poll_farewell(
        &mut self,
        stream: &mut Stream,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            match &mut self.stage {
                Stage::Open => self.stage = Stage::Closing(frames::close(self.code), 0),
                Stage::Closing(frame, sent) if *sent < frame.len() => {
                    match ready!(Pin::new(&mut *stream).poll_write(cx, &frame[*sent..]))? {
                        0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                        more => *sent += more,
                    }
                }
                Stage::Closing(..) => {
                    ready!(Pin::new(&mut *stream).poll_flush(cx))?;
                    self.stage = Stage::Ending;
                }
                Stage::Ending => {
                    ready!(Pin::new(&mut *stream).poll_shutdown(cx))?;
                    self.stage = Stage::Lingering(Box::pin(sleep(LINGER)));
                }
                Stage::Lingering(timer) => {
                    if timer.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(Ok(()));
                    }
                    let before = buf.filled().len();
                    ready!(Pin::new(&mut *stream).poll_read(cx, buf))?;
                    if buf.filled().len() == before {
                        return Poll::Ready(Ok(()));
                    }
                    buf.set_filled(before);
                }
            }
        }
    }
}
