//! Where one frame of a WebSocket ends and the next begins, in the bytes that a backend sends (RFC 6455, section 5.2).
//!
//! A frame of our own may stand between two frames of the backend's, also within a message of several, and nowhere else.

/// What ends the answer that switches protocols.
const END_OF_HEAD: &[u8; 4] = b"\r\n\r\n";

/// The longest header of a frame that a server sends.
const MAX_HEADER: usize = 10;

/// The operation code of a frame that closes the connection.
const CLOSE: u8 = 8;

/// The largest payload of a control frame.
const MAX_CONTROL: u64 = 125;

/// Follows what a backend sends through a tunnel, from the head of its 101 on.
#[derive(Debug)]
pub(super) struct Frames(State);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// So many bytes of [`END_OF_HEAD`] were the last to come.
    Head(usize),
    /// The header of a frame: what has come of it; nothing means that the stream stands between two frames.
    Header([u8; MAX_HEADER], usize),
    /// The payload of a frame: so much is still to come.
    Payload { left: u64, closes: bool },
    /// The backend has closed the connection itself.
    Closed,
    /// This is no WebSocket.
    Foreign,
}

impl State {
    const BETWEEN: Self = Self::Header([0; MAX_HEADER], 0);
}

impl Frames {
    /// Before the head of the answer.
    pub(super) const fn new() -> Self {
        Self(State::Head(0))
    }

    /// Whether a frame of ours may come now.
    pub(super) const fn stand_between(&self) -> bool {
        matches!(self.0, State::Header(_, 0))
    }

    /// Takes notice of bytes that were sent.
    pub(super) fn saw(&mut self, mut bytes: &[u8]) {
        while let Some((&first, rest)) = bytes.split_first() {
            match self.0 {
                State::Head(matched) => {
                    bytes = rest;
                    let matched = match first {
                        byte if byte == END_OF_HEAD[matched] => matched + 1,
                        b'\r' => 1,
                        _ => 0,
                    };
                    self.0 = if matched == END_OF_HEAD.len() { State::BETWEEN } else { State::Head(matched) };
                }
                State::Header(mut header, come) => {
                    bytes = rest;
                    header[come] = first;
                    self.0 = after_header(header, come + 1);
                }
                State::Payload { left, closes } => {
                    let part = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    bytes = &bytes[part..];
                    self.0 = payload(left - part as u64, closes);
                }
                State::Closed | State::Foreign => return,
            }
        }
    }
}

/// What follows when so many bytes of a header have come.
fn after_header(header: [u8; MAX_HEADER], come: usize) -> State {
    let [first, second, ..] = header;
    let operation = first & 0x0f;
    if matches!(operation, 3..=7 | 11..=15) {
        return State::Foreign;
    }
    if come < 2 {
        return State::Header(header, come);
    }
    // A server masks nothing.
    if second & 0x80 != 0 {
        return State::Foreign;
    }
    let (length, whole) = match second {
        126 => (u64::from(u16::from_be_bytes([header[2], header[3]])), 4),
        127 => {
            let [_, _, length @ ..] = header;
            (u64::from_be_bytes(length), MAX_HEADER)
        }
        short => (u64::from(short), 2),
    };
    if come < whole {
        return State::Header(header, come);
    }
    let is_control = operation >= CLOSE;
    if length >> 63 != 0 || (is_control && (length > MAX_CONTROL || first & 0x80 == 0)) {
        return State::Foreign;
    }
    payload(length, operation == CLOSE)
}

const fn payload(left: u64, closes: bool) -> State {
    match (left, closes) {
        (0, true) => State::Closed,
        (0, false) => State::BETWEEN,
        _ => State::Payload { left, closes },
    }
}

/// A whole frame that closes the connection for this reason.
pub(super) fn close(code: u16) -> Vec<u8> {
    const REASON: &[u8; 13] = b"session ended";
    const PAYLOAD: u8 = 15; // the code and the reason
    [&[0x80 | CLOSE, PAYLOAD][..], &code.to_be_bytes(), REASON].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEAD: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let header = match payload.len() {
            short @ 0..=125 => vec![first, u8::try_from(short).unwrap()],
            middle @ 126..=65_535 => [&[first, 126][..], &u16::try_from(middle).unwrap().to_be_bytes()].concat(),
            long => [&[first, 127][..], &(long as u64).to_be_bytes()].concat(),
        };
        [header, payload.to_vec()].concat()
    }

    fn after(pieces: &[&[u8]]) -> Frames {
        let mut frames = Frames::new();
        frames.saw(HEAD);
        for piece in pieces {
            frames.saw(piece);
        }
        frames
    }

    #[test]
    fn a_tunnel_stands_between_frames_once_its_head_is_out() {
        let mut frames = Frames::new();
        assert!(!frames.stand_between());
        frames.saw(&HEAD[..HEAD.len() - 1]);
        assert!(!frames.stand_between());
        frames.saw(b"\n");
        assert!(frames.stand_between());
    }

    #[test]
    fn what_is_no_websocket_never_stands_between_frames() {
        let masked = [0x81, 0x85, 0, 0, 0, 0];
        let huge = [0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0];
        let long_ping = frame(0x89, &[0; 126]);
        for foreign in [b"welcome".as_slice(), &masked, &huge, &long_ping, &frame(0x09, b"part of a ping")] {
            assert!(!after(&[foreign]).stand_between(), "{foreign:?}");
        }
    }

    #[test]
    fn a_backend_that_has_closed_is_not_closed_again() {
        assert!(!after(&[&frame(0x88, &[3, 232])]).stand_between());
        assert!(!after(&[&frame(0x88, &[])]).stand_between());
        assert!(!after(&[&close(4401), &frame(0x81, b"late")]).stand_between());
    }

    #[test]
    fn our_own_frame_is_one() {
        assert_eq!(close(4401), [&[0x88, 15, 0x11, 0x31][..], b"session ended"].concat());
    }

    proptest! {
        #[test]
        fn frames_end_where_they_end_however_they_are_cut(
            lengths in prop::collection::vec(0_usize..300, 1..6), long in 65_530_usize..66_000, at in 0_usize..70_000
        ) {
            let mut stream: Vec<u8> = lengths.iter().flat_map(|length| frame(0x01, &vec![0x88; *length])).collect();
            stream.extend(frame(0x82, &vec![0; long]));
            let cut = at.min(stream.len());
            let whole = after(&[&stream[..cut], &stream[cut..]]);
            prop_assert!(whole.stand_between());
            let bytewise: Vec<&[u8]> = stream.chunks(1).collect();
            prop_assert!(after(&bytewise).stand_between());
            prop_assert!(!after(&[&stream[..stream.len() - 1]]).stand_between());
        }
    }
}
