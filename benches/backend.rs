//! A backend for measuring: HTTP/1.1 with keep-alive on one thread, `GET` only, every answer 200 with 37 bytes.
//!
//! `/login` begins a session of ten keys and 500 bytes, `/write` changes one of its keys, `/seen` is answered with the
//! request's own head, so that a runner can see what a proxy sends, and anything else plainly.
//!
//! ```text
//! backend --listen 127.0.0.1:9000
//! ```

use bytes::{Buf, BytesMut};
use clap::Parser;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What an old application might keep about somebody, as `X-Session-Set` bears it; `cart` is what `/write` changes.
const LOGIN: &str = "user=ada.lovelace%40example.org&name=Ada%20Lovelace&lang=en-GB&role=editor&cart=00000000\
    &csrf=7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26\
    &prefs=%7B%22theme%22%3A%22dark%22%2C%22rows%22%3A50%2C\
    %22columns%22%3A%5B%22date%22%2C%22title%22%2C%22author%22%5D%7D\
    &recent=%2Freports%2F2026%2F10%20%2Freports%2F2026%2F09%20%2Freports%2F2026%2F08%20%2Fnotes%2F1187\
    &filter=state%3Aopen%20owner%3Ame%20sort%3Aupdated-desc%20label%3Abill\
    &return=%2Freports%2F2026%2F11%3Fpage%3D2%26view%3Dfull";

const BODY: &[u8] = b"<html><body>Hello, Ada.</body></html>";

const _: () = assert!(LOGIN.len() == 500 && BODY.len() == 37);

/// Serves until it is killed.
#[derive(Parser)]
struct Args {
    /// Where it listens.
    #[arg(long)]
    listen: SocketAddr,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let listener = TcpListener::bind(Args::parse().listen).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(serve(stream));
    }
}

async fn serve(mut stream: TcpStream) -> io::Result<()> {
    let mut input = BytesMut::with_capacity(8 * 1024);
    let mut output = Vec::with_capacity(1024);
    while stream.read_buf(&mut input).await? > 0 {
        while let Some(length) = head_length(&input) {
            answer(&input[..length], &mut output)?;
            input.advance(length);
        }
        stream.write_all(&output).await?;
        output.clear();
    }
    Ok(())
}

fn head_length(input: &[u8]) -> Option<usize> {
    input.windows(4).position(|end| end == b"\r\n\r\n").map(|start| start + 4)
}

fn answer(head: &[u8], output: &mut Vec<u8>) -> io::Result<()> {
    static CART: AtomicU32 = AtomicU32::new(1);
    let body = if head.starts_with(b"GET /seen ") { head } else { BODY };
    write!(
        output,
        "HTTP/1.1 200 OK\r\nServer: legacy\r\nDate: Thu, 19 Nov 2026 12:00:00 GMT\r\nContent-Type: text/html\r\n\
         Content-Length: {}\r\n",
        body.len()
    )?;
    if head.starts_with(b"GET /login ") {
        write!(output, "X-Session-Set: {LOGIN}\r\n")?;
    } else if head.starts_with(b"GET /write ") {
        let cart = CART.fetch_add(1, Ordering::Relaxed) % 100_000_000;
        write!(output, "X-Session-Set: cart={cart:08}\r\n")?;
    }
    output.extend_from_slice(b"\r\n");
    output.extend_from_slice(body);
    Ok(())
}
