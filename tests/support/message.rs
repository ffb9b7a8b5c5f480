//! Messages as they came over the wire, and the reader that takes them off it.

use std::fmt;
use std::io::{self, Read};

/// A request or a response: every byte of its head, and its body without any framing.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// The first line and the fields, with the empty line that ends them.
    pub head: Vec<u8>,
    /// The body, chunks put together.
    pub body: Vec<u8>,
    /// The connection that it came by, counted from zero.
    pub connection: usize,
}

impl Message {
    /// A message without a body yet.
    pub fn new(head: Vec<u8>, connection: usize) -> Self {
        Self { head, body: Vec::new(), connection }
    }

    /// The whole head as text, bytes beyond ASCII as Latin-1.
    pub fn text(&self) -> String {
        self.head.iter().map(|byte| char::from(*byte)).collect()
    }

    /// The body as text.
    pub fn body_text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The request line or the status line.
    pub fn first_line(&self) -> String {
        self.text().split("\r\n").next().unwrap_or_default().to_owned()
    }

    /// The part of the first line with this number.
    fn word(&self, number: usize) -> String {
        self.first_line().split(' ').nth(number).unwrap_or_default().to_owned()
    }

    /// The method of a request.
    pub fn method(&self) -> String {
        self.word(0)
    }

    /// The target of a request.
    pub fn target(&self) -> String {
        self.word(1)
    }

    /// The status of a response.
    pub fn status(&self) -> u16 {
        self.word(1).parse().unwrap_or_else(|_| panic!("no status line: {self:?}"))
    }

    /// Names, as they are spelled, and values, in order.
    pub fn fields(&self) -> Vec<(String, String)> {
        let text = self.text();
        let lines = text.split("\r\n").skip(1).filter(|line| !line.is_empty());
        lines
            .map(|line| {
                let (name, value) = line.split_once(':').unwrap_or((line, ""));
                (name.to_owned(), value.trim().to_owned())
            })
            .collect()
    }

    /// The values of all fields of this name, in order; letter case does not matter, `-` and `_` differ.
    pub fn all(&self, name: &str) -> Vec<String> {
        let fields = self.fields().into_iter();
        fields.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }

    /// The value of the only field of this name.
    pub fn get(&self, name: &str) -> Option<String> {
        let mut all = self.all(name);
        assert!(all.len() < 2, "`{name}` came {} times: {self:?}", all.len());
        all.pop()
    }

    /// Whether there is a field of this name.
    pub fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }

    /// What the backend was told under the usual prefix; empty when it was told nothing.
    pub fn told(&self, name: &str) -> String {
        self.get(&format!("X-Session-{name}")).unwrap_or_default()
    }

    /// The session's data as the backend was told.
    pub fn data(&self) -> String {
        self.told("Data")
    }

    /// The `Set-Cookie` lines of a response.
    pub fn set_cookies(&self) -> Vec<String> {
        self.all("Set-Cookie")
    }

    /// Whether these bytes stand anywhere in it, letter case apart.
    pub fn mentions(&self, text: &str) -> bool {
        let whole: String = self.text() + &self.body_text();
        whole.to_ascii_lowercase().contains(&text.to_ascii_lowercase())
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{}{}", self.text(), String::from_utf8_lossy(&self.body[..self.body.len().min(2000)]))
    }
}

/// How the body of a message ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    Empty,
    /// After so many bytes.
    Length(usize),
    /// After a chunk of no bytes.
    Chunked,
    /// With the connection.
    Close,
}

impl Framing {
    fn of(message: &Message, otherwise: Self) -> Self {
        let chunked = |value: &String| value.to_ascii_lowercase().contains("chunked");
        if message.all("Transfer-Encoding").iter().any(chunked) {
            return Self::Chunked;
        }
        let length = message.all("Content-Length").first().and_then(|length| length.parse().ok());
        length.map_or(otherwise, Self::Length)
    }

    /// How the body of a request ends.
    pub fn of_request(request: &Message) -> Self {
        Self::of(request, Self::Empty)
    }

    /// How the body of the answer to a request of this method ends (RFC 9112, section 6.3).
    pub fn of_response(response: &Message, method: &str) -> Self {
        match response.status() {
            100..200 | 204 | 304 => Self::Empty,
            _ if method == "HEAD" => Self::Empty,
            _ => Self::of(response, Self::Close),
        }
    }
}

/// Takes messages off a stream.
pub struct Reader<S> {
    /// The stream.
    pub stream: S,
    ahead: Vec<u8>,
}

impl<S: Read> Reader<S> {
    /// A reader that has read nothing yet.
    pub fn new(stream: S) -> Self {
        Self { stream, ahead: Vec::new() }
    }

    /// The head of the next message; `None` when the other end has closed before its first byte.
    pub fn head(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(end) = self.ahead.windows(4).position(|four| four == b"\r\n\r\n") {
                return Ok(Some(self.ahead.drain(..end + 4).collect()));
            }
            if !self.more()? {
                let cut = || io::Error::new(io::ErrorKind::UnexpectedEof, format!("cut within a head: {self}"));
                return if self.ahead.is_empty() { Ok(None) } else { Err(cut()) };
            }
        }
    }

    /// A body.
    pub fn body(&mut self, framing: Framing) -> io::Result<Vec<u8>> {
        match framing {
            Framing::Empty => Ok(Vec::new()),
            Framing::Length(length) => self.exactly(length),
            Framing::Close => self.rest(),
            Framing::Chunked => {
                let mut body = Vec::new();
                loop {
                    let line = self.line()?;
                    let size = line.split(';').next().unwrap_or_default().trim();
                    let size =
                        usize::from_str_radix(size, 16).map_err(|_| io::Error::other(format!("chunk {line}")))?;
                    if size == 0 {
                        while !self.line()?.is_empty() {} // trailers
                        return Ok(body);
                    }
                    body.extend(self.exactly(size)?);
                    self.line()?;
                }
            }
        }
    }

    /// Exactly so many bytes.
    pub fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.ahead.len() < length {
            if !self.more()? {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("{length} bytes announced: {self}")));
            }
        }
        Ok(self.ahead.drain(..length).collect())
    }

    /// The bytes that come next, as many as there are; none at the end.
    pub fn some(&mut self) -> io::Result<Vec<u8>> {
        if self.ahead.is_empty() {
            self.more()?;
        }
        Ok(std::mem::take(&mut self.ahead))
    }

    /// Everything up to the end of the connection.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        while self.more()? {}
        Ok(std::mem::take(&mut self.ahead))
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.ahead.windows(2).position(|two| two == b"\r\n") {
                let line: Vec<u8> = self.ahead.drain(..end + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if !self.more()? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Reads on; `false` at the end.
    fn more(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 16 * 1024];
        let read = loop {
            match self.stream.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        self.ahead.extend_from_slice(&buffer[..read]);
        Ok(read > 0)
    }
}

impl<S> fmt::Display for Reader<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.ahead))
    }
}
