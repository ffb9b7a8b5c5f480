//! A memcached of a few lines that tells the truth until it is told not to.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

const GREETING: &str = "MN\r\nSTAT item_size_max 1048576\r\nEND\r\nEND\r\n";

/// How it behaves on one connection.
#[derive(Clone, Copy, Debug)]
pub enum Manner {
    /// As memcached does.
    Honest,
    /// Closes the connection in the middle of the first command that reads.
    CutsReads,
    /// Closes the connection in the middle of the first command that writes.
    CutsWrites,
    /// Answers a read as if it were about another key, as after a slip by one.
    OtherKey,
    /// Answers a read with the number of another command.
    OtherNumber,
    /// Answers a read with the right names and the value of another key.
    OtherValue,
    /// Sends a reply more than there were commands.
    OneTooMany,
    /// Does not know the meta protocol.
    Ancient,
}

type Values = Arc<Mutex<HashMap<String, (u64, Vec<u8>)>>>;

/// It listens until the test ends.
pub struct FakeMemcached {
    port: u16,
    accepted: Arc<AtomicUsize>,
}

impl FakeMemcached {
    /// The first connection meets the first manner, and so on; the last one stays.
    pub fn start(manners: &[Manner]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let accepted = Arc::new(AtomicUsize::new(0));
        let (manners, count, values) = (manners.to_vec(), Arc::clone(&accepted), Values::default());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let n = count.fetch_add(1, Ordering::SeqCst);
                let manner = manners[n.min(manners.len() - 1)];
                let values = Arc::clone(&values);
                // It ends with an error when the other side does.
                std::thread::spawn(move || serve(&stream.unwrap(), manner, &values).ok());
            }
        });
        Self { port, accepted }
    }

    pub fn name(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// How many connections there have been.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

fn serve(mut stream: &TcpStream, manner: Manner, values: &Values) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?);
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let number = words.iter().find_map(|word| word.strip_prefix('O')).unwrap_or_default();
        let mut held = values.lock().unwrap();
        let reply = match (words[0], manner) {
            ("mn", Manner::Ancient) => b"ERROR\r\n".to_vec(),
            ("mn", _) => GREETING.into(),
            ("mg", Manner::CutsReads) | ("ms", Manner::CutsWrites) => return Ok(()),
            ("ms", _) => {
                let mut value = vec![0; words[2].parse::<usize>().unwrap() + 2];
                lines.read_exact(&mut value)?;
                value.truncate(value.len() - 2);
                let unique = held.len() as u64 + 1;
                held.insert(words[1].to_owned(), (unique, value));
                format!("HD c{unique} k{} O{number}\r\n", words[1]).into()
            }
            ("mg", _) => {
                let is_other = |key: &&String| *key != words[1];
                let asked = words[1].to_owned();
                let other = held.keys().find(is_other).unwrap_or(&asked);
                let (named, meant) = match manner {
                    Manner::OtherKey => (other, other),
                    Manner::OtherValue => (&asked, other),
                    _ => (&asked, &asked),
                };
                let number = if matches!(manner, Manner::OtherNumber) { "4000000000" } else { number };
                let mut reply = match held.get(meant) {
                    Some((unique, value)) => {
                        let line = format!("VA {} c{unique} k{named} O{number}\r\n", value.len());
                        [line.as_bytes(), value, b"\r\n"].concat()
                    }
                    None => format!("EN k{named} O{number}\r\n").into(),
                };
                if matches!(manner, Manner::OneTooMany) {
                    reply.extend_from_within(..);
                }
                reply
            }
            _ => continue,
        };
        drop(held);
        stream.write_all(&reply)?;
    }
}
