//! The guest book for a machine that has no interpreter: as old-fashioned as the others, in Rust.
//!
//! It knows nothing of the proxy but the header protocol. One thread for each connection, one request for each.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// The look that all guest books share.
pub(super) const STYLE: &str = include_str!("apps/style.css");

const ITEMS: [&str; 3] = ["tea", "cake", "book"];
const MAX_HEAD: u64 = 64 * 1024;
const MAX_BODY: u64 = 64 * 1024;
const MAX_ENTRIES: usize = 50;

/// Serves a guest book on a port of its own, until the process ends.
pub(super) fn start(book: PathBuf) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let book: &'static Mutex<PathBuf> = Box::leak(Box::new(Mutex::new(book)));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(&stream, book));
        }
    });
    Ok(address)
}

fn serve(stream: &TcpStream, book: &Mutex<PathBuf>) {
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok();
    let Ok(Some(request)) = Request::read(stream) else { return };
    let book = book.lock().unwrap_or_else(PoisonError::into_inner);
    let answer = respond(&request, &book);
    let mut stream = stream;
    stream.write_all(answer.as_bytes()).ok();
}

struct Request {
    method: String,
    path: String,
    /// Lower-case names of the session's headers, with their raw values.
    session: BTreeMap<String, String>,
    body: String,
}

impl Request {
    fn read(stream: &TcpStream) -> io::Result<Option<Self>> {
        let mut reader = BufReader::new(stream.take(MAX_HEAD + MAX_BODY));
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let mut words = line.split_whitespace();
        let (Some(method), Some(target)) = (words.next(), words.next()) else { return Ok(None) };
        let (method, path) = (method.to_owned(), target.split('?').next().unwrap_or_default().to_owned());
        let (mut session, mut length) = (BTreeMap::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
                break;
            }
            let Some((name, value)) = line.split_once(':') else { continue };
            let (name, value) = (name.to_ascii_lowercase(), value.trim().to_owned());
            match name.as_str() {
                "content-length" => length = value.parse().unwrap_or(0).min(MAX_BODY),
                name if name.starts_with("x-session-") => drop(session.insert(name.to_owned(), value)),
                _ => {}
            }
        }
        let mut body = Vec::new();
        reader.take(length).read_to_end(&mut body)?;
        Ok(Some(Self { method, path, session, body: String::from_utf8_lossy(&body).into_owned() }))
    }

    fn header(&self, name: &str) -> &str {
        self.session.get(name).map_or("", String::as_str)
    }

    /// A field of the form: one line, not longer than `limit` characters.
    fn field(&self, name: &str, limit: usize) -> String {
        let text = pairs(&self.body, '&')
            .into_iter()
            .rev()
            .find(|(key, _)| key == name)
            .map_or(String::new(), |(_, text)| text);
        text.split(|c: char| c.is_control() || c == ' ')
            .filter(|word| !word.is_empty())
            .collect::<Vec<_>>()
            .join(" ")
            .chars()
            .take(limit)
            .collect()
    }
}

fn respond(request: &Request, book: &Path) -> String {
    let status = |status: &str| format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    match (request.method.as_str(), request.path.as_str()) {
        ("GET" | "HEAD", "/") => page(request, book),
        ("POST", "/sign") => sign(request, book),
        ("POST", "/login") => match request.field("user", 20) {
            user if user.is_empty() || request.field("password", 20) != "coat" => {
                back("error", "Wrong user or password.", &[])
            }
            user => {
                let commands = [("Login", encode(&user)), ("Set", format!("user={}", encode(&user)))];
                back("success", &format!("Welcome, {user}"), &commands)
            }
        },
        ("POST", "/logout") => back("info", "You are logged out.", &[("Destroy", "1".into())]),
        ("POST", "/cart") => match request.field("item", 20) {
            item if ITEMS.contains(&item.as_str()) => {
                back("success", &format!("One {item} for you"), &[("Add", format!("cart_{item}=1"))])
            }
            _ => back("error", "We do not sell that.", &[]),
        },
        ("POST", "/empty") => {
            back("info", "The cart is empty.", &[("Unset", ITEMS.map(|item| format!("cart_{item}")).join(", "))])
        }
        (_, "/" | "/sign" | "/login" | "/logout" | "/cart" | "/empty") => status("405 Method Not Allowed"),
        _ => status("404 Not Found"),
    }
}

/// Answers a form: back to the page, with a message for it whose field `said` holds what this answer carried.
fn back(level: &str, text: &str, commands: &[(&str, String)]) -> String {
    let lines: Vec<String> = commands.iter().map(|(verb, value)| format!("X-Session-{verb}: {value}\r\n")).collect();
    let mut said = lines.concat();
    let flash = format!("X-Session-Flash: {level}={}", encode(text));
    let told = format!("{}{flash};said=...", said.replace('\r', ""));
    let _ = write!(said, "{flash};said={}\r\n", encode(&told));
    format!("HTTP/1.1 303 See Other\r\nLocation: ./\r\n{said}Content-Length: 0\r\nConnection: close\r\n\r\n")
}

fn sign(request: &Request, book: &Path) -> String {
    let (name, message) = (request.field("name", 20), request.field("message", 280));
    if name.is_empty() || message.is_empty() {
        return back("error", "Please give a name and a message.", &[]);
    }
    let before = fs::read_to_string(book).unwrap_or_default();
    let lines = before.lines().take(MAX_ENTRIES - 1).map(str::to_owned);
    let lines: Vec<String> = [format!("{name}\t{message}")].into_iter().chain(lines).collect();
    match fs::write(book, lines.join("\n")) {
        Ok(()) => back("success", "Thank you", &[("Set", format!("name={}", encode(&name)))]),
        Err(_) => back("error", "The guest book cannot be written.", &[]),
    }
}

fn page(request: &Request, book: &Path) -> String {
    let data: BTreeMap<String, String> = pairs(request.header("x-session-data"), '&').into_iter().collect();
    let value = |key: &str| data.get(key).map_or("", String::as_str);
    let count = |key: &str| value(key).parse().unwrap_or(0u32);
    let user = decode(request.header("x-session-user"));
    let counts = request.method == "GET";
    let (command, visits) = (if counts { "X-Session-Add: visits=1\r\n" } else { "" }, count("visits") + 1);

    let mut flashes = String::new();
    let mut before = String::new();
    for item in request.header("x-session-flashes").split('&').filter(|item| !item.is_empty()) {
        let fields = pairs(item, ';');
        if let Some((level, text)) = fields.first() {
            let _ = write!(flashes, "<p class=\"flash {}\" role=\"status\">{}</p>", escape(level), escape(text));
        }
        for (_, said) in fields.iter().filter(|(name, _)| name == "said") {
            let _ = write!(before, "<h3>and, just before, to your form</h3><pre>{}</pre>", escape(said));
        }
    }
    let received: String =
        request.session.iter().map(|(name, text)| format!("{}: {}\n", escape(&spelled(name)), escape(text))).collect();
    let cart: String = ITEMS
        .map(|item| {
            format!(
                "<button class=\"quiet\" name=\"item\" value=\"{item}\">{item}: <b>{}</b> +</button>",
                count(&format!("cart_{item}"))
            )
        })
        .concat();
    let entries = fs::read_to_string(book).unwrap_or_default();
    let entries: String = entries
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(name, message)| {
            format!("<div class=\"entry\"><p>{}</p><footer>{}</footer></div>", escape(message), escape(name))
        })
        .collect();
    let login = if user.is_empty() {
        "<h2>Log in</h2><form method=\"post\" action=\"login\"><label>User <input name=\"user\" maxlength=\"20\" required></label>\
         <label>Password <input name=\"password\" type=\"password\" maxlength=\"20\" required></label><div class=\"row\"><button>Log in</button></div></form>\
         <p class=\"faint\">Any user will do; the password is <b>coat</b>.</p>".to_owned()
    } else {
        format!(
            "<h2>Hello, {}</h2><form method=\"post\" action=\"logout\"><button>Log out</button></form>",
            escape(&user)
        )
    };
    let note = if request.header("x-session-state").is_empty() {
        "<p class=\"flash\">Cloakroom is not in front of this application.</p>"
    } else {
        ""
    };
    let (state, name) = (
        escape(request.header("x-session-state")),
        escape(if value("name").is_empty() { &user } else { value("name") }),
    );
    let body = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>Guest book</title><style>{STYLE}</style></head><body><header><h1>Guest book</h1><span class=\"chip\">built in</span>\
         <span class=\"chip\">session: {state}</span></header>{note}{flashes}<main class=\"columns\"><section class=\"card\"><h2>Sign the book</h2>\
         <form method=\"post\" action=\"sign\"><label>Your name <input name=\"name\" maxlength=\"20\" required value=\"{name}\"></label>\
         <label>Your message <textarea name=\"message\" maxlength=\"280\" required></textarea></label><button>Sign</button></form></section>\
         <div class=\"stack\"><section class=\"card\"><h2>Your visits</h2><p class=\"big\">{visits}</p></section><section class=\"card\">{login}</section>\
         <section class=\"card\"><h2>Your cart</h2><form method=\"post\" action=\"cart\" class=\"row\">{cart}</form>\
         <form method=\"post\" action=\"empty\" class=\"row\"><button class=\"quiet\">Empty the cart</button></form></section></div></main>\
         <section class=\"wide\"><h2>Both sides of this exchange</h2><div class=\"columns\"><div class=\"card\"><h3>What Cloakroom sent</h3>\
         <pre>{received}</pre></div><div class=\"card\"><h3>What the backend answered</h3><pre>{command}</pre>{before}</div></div></section>\
         <section class=\"wide card\"><h2>The book</h2>{entries}</section></body></html>\n"
    );
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n{command}Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    if request.method == "HEAD" { head } else { head + &body }
}

/// A header name as people write it: `X-Session-State`.
fn spelled(name: &str) -> String {
    let word = |word: &str| word.chars().take(1).flat_map(char::to_uppercase).chain(word.chars().skip(1)).collect();
    name.split('-').map(word).collect::<Vec<String>>().join("-")
}

fn pairs(text: &str, separator: char) -> Vec<(String, String)> {
    text.split(separator)
        .filter_map(|item| item.split_once('='))
        .map(|(key, text)| (decode(key), decode(text)))
        .collect()
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = after.get(..2).and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        rest = after;
        bytes.push(match (byte, escaped) {
            (b'%', Some(decoded)) => {
                rest = &after[2..];
                decoded
            }
            (b'+', _) => b' ',
            _ => byte,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn encode(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_encodes_it_decodes() {
        let text = "café € 100% & more; said=<b>";
        assert_eq!(decode(&encode(text)), text);
    }

    #[test]
    fn a_visitors_words_are_never_markup() {
        let session =
            [("x-session-state".to_owned(), "live".to_owned()), ("x-session-user".to_owned(), "%3Cb%3E".to_owned())];
        let request = Request { method: "GET".into(), path: "/".into(), session: session.into(), body: String::new() };
        let page = page(&request, Path::new("/nonexistent"));
        assert!(page.contains("Hello, &lt;b&gt;") && !page.contains("Hello, <b>"));
    }
}
