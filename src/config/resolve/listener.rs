//! `[listeners.<name>]` and `trusted_proxies`.

use super::super::file::Listener;
use super::super::given::{At, Named, Section};
use super::super::problem::Problem;
use super::super::unit::Fault;
use super::{Resolver, tls};
use crate::proxy::options::{ListenAddress, ListenerOptions, Network};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

/// What the HTTP parser below us reads at most: more header fields are refused before we see them.
const MAX_HEADERS: usize = 256;

pub(super) fn listeners(file: &Named<Section<Listener>>, to: &mut Resolver<'_>) -> Vec<Option<ListenerOptions>> {
    let mut taken: Vec<(ListenAddress, At<String>)> = Vec::new();
    let mut all = Vec::new();
    for (name, listener) in file.iter() {
        let address = address(name, listener, to);
        if let Some(address) = &address {
            let span = listener.address.span_or(&name.span);
            match taken.iter().find(|(other, _)| other == address) {
                Some((_, other)) => to.report(
                    Problem::error("listener::duplicate", format!("two listeners want the address `{address}`"))
                        .at(span)
                        .label(format!("listener `{}` wants it too", name.value))
                        .also(other.span.clone(), "taken here")
                        .help("remove one of them, or give it another port"),
                ),
                None => taken.push((address.clone(), At { value: name.value.clone(), span })),
            }
        }
        let options = ListenerOptions {
            name: name.value.clone(),
            address: address.clone().unwrap_or(ListenAddress::Unix("".into())),
            certificates: tls::certificates(listener, to),
            behind_tls: listener.behind_tls.or(false),
            max_header_bytes: to.size("max_header_bytes", &listener.max_header_bytes, 32 << 10, 1 << 10..=1 << 20),
            max_headers: to.within("max_headers", &listener.max_headers, 100, 10..=MAX_HEADERS),
            header_timeout: to.time("header_timeout", &listener.header_timeout, Duration::from_secs(10)),
            keepalive_timeout: to.time("keepalive_timeout", &listener.keepalive_timeout, Duration::from_secs(75)),
        };
        all.push(address.map(|_| options));
    }
    all
}

fn address(name: &At<String>, listener: &Listener, to: &mut Resolver<'_>) -> Option<ListenAddress> {
    let Some(given) = listener.address.at() else {
        to.missing(&["listeners", &name.value, "address"], || {
            Problem::error("config::missing", format!("listener `{}` has no address", name.value))
                .at(name.span.clone())
                .help("add `address = \"127.0.0.1:8080\"`")
        });
        return None;
    };
    match parse_address(&given.value) {
        Ok(ListenAddress::Unix(path)) => Some(ListenAddress::Unix(to.around.path(path))),
        Ok(address) => Some(address),
        Err(fault) => {
            to.report(Problem::error("listener::address", fault.message).at(given.span.clone()).help(fault.remedy));
            None
        }
    }
}

fn parse_address(text: &str) -> Result<ListenAddress, Fault> {
    if let Some(path) = text.strip_prefix("unix:") {
        let is_path = !path.is_empty() && !path.starts_with("//") && Path::new(path).file_name().is_some();
        let fault = || Fault::new(format!("`{text}` names no socket"), "write `unix:/run/cloakroom/http.sock`");
        return if is_path { Ok(ListenAddress::Unix(path.into())) } else { Err(fault()) };
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return match address.port() {
            0 => Err(Fault::new(
                format!("`{text}` has port 0, which nobody could find"),
                "choose a port from 1 to 65535",
            )),
            _ => Ok(ListenAddress::Tcp(address)),
        };
    }
    let remedy = match (text.parse::<IpAddr>(), text.rsplit_once(':')) {
        (Ok(IpAddr::V4(ip)), _) => format!("write `{ip}:8080`"),
        (Ok(IpAddr::V6(ip)), _) => format!("write `[{ip}]:8080`"),
        (_, Some(("" | "*", port))) => {
            format!("write `[::]:{port}` for every address, or `127.0.0.1:{port}` for this machine")
        }
        (_, Some(("localhost", port))) => format!("write `127.0.0.1:{port}`"),
        _ => "write an address and a port such as `127.0.0.1:8080`, or `unix:/run/cloakroom/http.sock`".into(),
    };
    Err(Fault::new(format!("`{}` is not an address to listen on", text.escape_default()), remedy))
}

/// Reads addresses and networks.
pub(super) fn networks(list: &[At<String>], to: &mut Resolver<'_>) -> Vec<Network> {
    let mut networks = Vec::new();
    for text in list {
        match parse_network(&text.value) {
            Ok(network) => networks.push(network),
            Err(fault) => {
                let problem = Problem::error("server::trusted_proxies", fault.message);
                to.report(problem.at(text.span.clone()).help(fault.remedy));
            }
        }
    }
    networks
}

fn parse_network(text: &str) -> Result<Network, Fault> {
    let fault = || {
        let message = format!("`{}` is neither an address nor a network", text.escape_default());
        Err(Fault::new(message, "write `10.0.0.7`, `10.0.0.0/8` or `fd00::/8`"))
    };
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let Ok(address) = address.parse::<IpAddr>() else { return fault() };
    let width: u8 = if address.is_ipv4() { 32 } else { 128 };
    let Ok(bits) = bits.map_or(Ok(width), str::parse::<u8>) else { return fault() };
    if bits > width {
        return fault();
    }
    let network = Network { address, bits };
    let first = match address {
        IpAddr::V4(ip) => IpAddr::from((ip.to_bits() & !u32::MAX.checked_shr(bits.into()).unwrap_or(0)).to_be_bytes()),
        IpAddr::V6(ip) => IpAddr::from((ip.to_bits() & !u128::MAX.checked_shr(bits.into()).unwrap_or(0)).to_be_bytes()),
    };
    if first != address {
        let message = format!("`{text}` is an address within a network, not the network");
        return Err(Fault::new(message, format!("write `{first}/{bits}` for the network, or `{address}`")));
    }
    Ok(network)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        for text in ["127.0.0.1:8080", "[::]:443", "unix:/run/a.sock"] {
            assert_eq!(parse_address(text).unwrap().to_string(), text);
        }
        for (text, remedy) in [
            (":8080", "`[::]:8080`"),
            ("*:80", "`[::]:80`"),
            ("localhost:80", "`127.0.0.1:80`"),
            ("10.0.0.7", "`10.0.0.7:8080`"),
            ("::1", "`[::1]:8080`"),
            ("127.0.0.1:0", "from 1 to 65535"),
            ("127.0.0.1:99999", "such as"),
            ("example.org:80", "such as"),
            ("unix:", "unix:/run"),
            ("unix:///run/a.sock", "unix:/run"),
            ("", "such as"),
        ] {
            assert!(parse_address(text).unwrap_err().remedy.contains(remedy), "{text}");
        }
    }

    #[test]
    fn networks_are_read() {
        // HI10
        for (text, bits) in
            [("10.0.0.7", 32), ("10.0.0.0/8", 8), ("0.0.0.0/0", 0), ("fd00::/8", 8), ("::1", 128), ("10.0.0.1/32", 32)]
        {
            assert_eq!(parse_network(text).unwrap().bits, bits, "{text}");
        }
        for text in ["", "10.0.0.0/33", "10.0.0.0/x", "example.org", "10.0/8", "10.0.0.0/"] {
            assert!(parse_network(text).unwrap_err().message.contains("neither"), "{text}");
        }
        assert_eq!(
            parse_network("10.1.2.3/8").unwrap_err().remedy,
            "write `10.0.0.0/8` for the network, or `10.1.2.3`"
        );
        assert_eq!(parse_network("fd12::1/8").unwrap_err().remedy, "write `fd00::/8` for the network, or `fd12::1`");
    }
}
