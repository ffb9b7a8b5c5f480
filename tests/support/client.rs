//! The client: exact bytes out, one message at a time back.

use super::message::{Framing, Message, Reader};
use super::{LIMIT, Stream};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// A request under construction.
#[derive(Clone, Debug)]
pub struct Ask {
    method: String,
    target: String,
    version: &'static str,
    fields: Vec<(String, Vec<u8>)>,
    body: Option<Vec<u8>>,
}

/// `GET` of this target, with a `Host`.
pub fn get(target: &str) -> Ask {
    ask("GET", target)
}

/// `POST` to this target, with a `Host` and a body of known length.
pub fn post(target: &str, body: impl AsRef<[u8]>) -> Ask {
    let body = body.as_ref();
    let posted = ask("POST", target).with("Content-Length", body.len().to_string());
    Ask { body: Some(body.to_vec()), ..posted }
}

/// Any method, with a `Host`.
pub fn ask(method: &str, target: &str) -> Ask {
    let (method, target) = (method.to_owned(), target.to_owned());
    Ask { method, target, version: "HTTP/1.1", fields: Vec::new(), body: None }.with("Host", "app.example")
}

impl Ask {
    /// Adds a field.
    pub fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.fields.push((name.into(), value.as_ref().to_vec()));
        self
    }

    /// Puts a value in place of all of this name.
    pub fn but(mut self, name: &str, value: &str) -> Self {
        self.fields.retain(|(found, _)| !found.eq_ignore_ascii_case(name));
        self.with(name, value)
    }

    /// Takes all of this name away.
    pub fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(found, _)| !found.eq_ignore_ascii_case(name));
        self
    }

    /// Adds a `Cookie`, if there is any.
    pub fn cookie(self, line: Option<&str>) -> Self {
        match line {
            Some(line) => self.with("Cookie", line),
            None => self,
        }
    }

    /// Asks in HTTP/1.0.
    pub fn http10(self) -> Self {
        Self { version: "HTTP/1.0", ..self }
    }

    /// The method.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The bytes on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{} {} {}\r\n", self.method, self.target, self.version).into_bytes();
        for (name, value) in &self.fields {
            bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        bytes.extend(b"\r\n");
        bytes.extend(self.body.iter().flatten());
        bytes
    }
}

/// A connection to the proxy.
pub struct Client {
    reader: Reader<Box<dyn Stream>>,
    /// Answers of the 100 class that came before the last final one.
    pub interim: Vec<Message>,
}

impl Client {
    /// Connects over TCP.
    pub fn tcp(address: SocketAddr) -> Self {
        Self::over(Box::new(TcpStream::connect_timeout(&address, LIMIT).expect("the proxy listens")))
    }

    /// Connects over a Unix socket.
    pub fn unix(path: &Path) -> Self {
        Self::over(Box::new(UnixStream::connect(path).expect("the proxy listens")))
    }

    /// Talks over a stream that stands.
    pub fn over(stream: Box<dyn Stream>) -> Self {
        stream.limit(LIMIT);
        Self { reader: Reader::new(stream), interim: Vec::new() }
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let stream = &mut self.reader.stream;
        stream.write_all(bytes.as_ref()).and_then(|()| stream.flush()).expect("the proxy reads");
    }

    /// Sends bytes; tells whether the proxy still took them.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let stream = &mut self.reader.stream;
        stream.write_all(bytes.as_ref()).and_then(|()| stream.flush()).is_ok()
    }

    /// Sends a request and reads its final answer.
    pub fn ask(&mut self, ask: &Ask) -> Message {
        self.send(ask.bytes());
        self.answer(ask.method())
    }

    /// The final answer to a request of this method.
    pub fn answer(&mut self, method: &str) -> Message {
        self.interim.clear();
        loop {
            let message = self.next(method).expect("an answer, not the end of the connection");
            match message.status() {
                100 | 102..200 => self.interim.push(message),
                _ => return message,
            }
        }
    }

    /// The next message whatever its status; `None` when the proxy has closed.
    pub fn next(&mut self, method: &str) -> Option<Message> {
        let head = match self.reader.head() {
            Ok(head) => head?,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
            Err(error) => panic!("no answer within {LIMIT:?}: {error}"),
        };
        let mut message = Message::new(head, 0);
        let framing = Framing::of_response(&message, method);
        message.body = self.reader.body(framing).unwrap_or_else(|error| panic!("{error} after {message:?}"));
        Some(message)
    }

    /// The next message; `None` when the connection ends in any way before it is complete.
    pub fn try_next(&mut self, method: &str) -> Option<Message> {
        let mut message = Message::new(self.reader.head().ok()??, 0);
        let framing = Framing::of_response(&message, method);
        message.body = self.reader.body(framing).ok()?;
        Some(message)
    }

    /// Everything up to the end of the connection, which must come within the limit.
    pub fn rest(&mut self) -> Vec<u8> {
        match self.reader.rest() {
            Ok(rest) => rest,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Vec::new(),
            Err(error) => panic!("the connection stays open: {error}, so far {}", self.reader),
        }
    }

    /// Exactly so many bytes, as a tunnel gives them.
    pub fn exactly(&mut self, length: usize) -> Vec<u8> {
        self.reader.exactly(length).expect("bytes from the tunnel")
    }

    /// Ends the sending half.
    pub fn half_close(&mut self) {
        self.reader.stream.end_of_sending();
    }
}

/// Ends the sending half of a TCP stream.
pub fn end_tcp(stream: &TcpStream) {
    drop(stream.shutdown(Shutdown::Write));
}

/// The cookies of a browser that visits one site: kept by name, removed by `Max-Age=0`.
#[derive(Clone, Debug, Default)]
pub struct Jar(pub Vec<(String, String)>);

impl Jar {
    /// Does what the `Set-Cookie` lines of a response say.
    pub fn keep(&mut self, response: &Message) {
        for line in response.set_cookies() {
            let cookie = SetCookie::parse(&line);
            self.0.retain(|(name, _)| *name != cookie.name);
            if cookie.attribute("Max-Age") != Some("0") {
                self.0.push((cookie.name, cookie.value));
            }
        }
    }

    /// The `Cookie` line, if there is any cookie.
    pub fn line(&self) -> Option<String> {
        let pairs: Vec<_> = self.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    /// The value of one cookie.
    pub fn value(&self, name: &str) -> Option<String> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone())
    }
}

/// A `Set-Cookie` line, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetCookie {
    /// The name.
    pub name: String,
    /// The value.
    pub value: String,
    /// The attributes, sorted.
    pub attributes: Vec<String>,
}

impl SetCookie {
    /// Takes a line apart.
    pub fn parse(line: &str) -> Self {
        let mut parts = line.split("; ");
        let (name, value) = parts.next().and_then(|pair| pair.split_once('=')).expect("a name and a value");
        let mut attributes: Vec<_> = parts.map(str::to_owned).collect();
        attributes.sort();
        Self { name: name.into(), value: value.into(), attributes }
    }

    /// The only line of a response.
    pub fn only(response: &Message) -> Self {
        let lines = response.set_cookies();
        assert_eq!(lines.len(), 1, "one Set-Cookie expected: {response:?}");
        Self::parse(&lines[0])
    }

    /// The value of an attribute.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find_map(|attribute| attribute.strip_prefix(name)?.strip_prefix('='))
    }
}
