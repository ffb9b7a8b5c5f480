//! Real shared caches in front of the proxy, each with a configuration that keeps as much as it may.

use super::servers::{Daemon, directory, free_port, program};
use std::fs;
use std::net::{SocketAddr, TcpStream};

/// nginx keeps every answer that it is not forbidden to keep: with a time for those that say nothing themselves.
const NGINX: &str = "
    proxy_pass http://127.0.0.1:8080;
    proxy_http_version 1.1;
    proxy_set_header Host $host;
    proxy_cache pages;
    proxy_cache_valid any 10m;
    proxy_cache_revalidate on;
    proxy_cache_lock on;
    proxy_cache_use_stale error timeout updating http_500 http_502 http_503 http_504;
    proxy_cache_background_update on;
";

/// Varnish as it comes: it lets whoever brings a cookie pass.
const VARNISH: &str = "backend default { .host = \"127.0.0.1\"; .port = \"8080\"; }\n";

/// Varnish as impatient people set it up: it looks for a page whatever cookies come.
const VARNISH_FOR_ALL: &str = "
    sub vcl_recv { if (req.method == \"GET\" || req.method == \"HEAD\") { return (hash); } }
";

/// A cache that runs.
pub struct Cache {
    /// How a failing test calls it.
    pub name: &'static str,
    /// Where it listens.
    pub address: SocketAddr,
    _daemon: Daemon,
}

impl Cache {
    /// nginx with `proxy_cache`.
    pub fn nginx(proxy: SocketAddr) -> Self {
        Self::nginx_with("nginx", proxy, "", NGINX)
    }

    /// nginx as `docs/operations.md` recommends it.
    pub fn nginx_of_the_docs(proxy: SocketAddr) -> Self {
        let block = documented("nginx", "proxy_cache_path");
        let (outside, server) = block.split_once("server {").unwrap();
        let inside = server.split_once("location / {").unwrap().1.split_once('}').unwrap().0;
        let outside = outside.lines().filter(|line| !line.starts_with("proxy_cache_path"));
        let outside = outside.collect::<Vec<_>>().join("\n");
        Self::nginx_with("nginx of the documentation", proxy, &outside, inside)
    }

    fn nginx_with(name: &'static str, proxy: SocketAddr, http: &str, location: &str) -> Self {
        let (own, port) = (directory("nginx"), free_port());
        let place = own.display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {place}/{kind};\n"))
            .concat();
        // One process: it has nobody to leave behind when it is killed.
        let config = format!(
            "daemon off;\nmaster_process off;\npid {place}/pid;\nerror_log stderr warn;\nevents {{}}\nhttp {{\n{temporary}\
             access_log off;\nproxy_cache_path {place}/cache keys_zone=pages:1m;\n{http}\n\
             server {{ listen 127.0.0.1:{port}; location / {{ {location} }} }}\n}}\n"
        );
        fs::write(own.join("nginx.conf"), at(proxy, &config)).unwrap();
        let (binary, file) = (program("nginx", &["/usr/sbin"]), format!("{place}/nginx.conf"));
        let command = [&binary, "-p", &place.to_string(), "-c", &file];
        Self::start(name, &own, port, &command)
    }

    /// Varnish with nothing but a backend.
    pub fn varnish(proxy: SocketAddr) -> Self {
        Self::varnish_with("varnish", proxy, VARNISH)
    }

    /// Varnish that keeps pages whatever cookies a visitor brings.
    pub fn varnish_for_all(proxy: SocketAddr) -> Self {
        Self::varnish_with("varnish, cookies or not", proxy, &[VARNISH, VARNISH_FOR_ALL].concat())
    }

    /// Varnish as `docs/operations.md` recommends it.
    pub fn varnish_of_the_docs(proxy: SocketAddr) -> Self {
        Self::varnish_with("varnish of the documentation", proxy, &documented("vcl", "vcl_recv"))
    }

    fn varnish_with(name: &'static str, proxy: SocketAddr, vcl: &str) -> Self {
        let (own, port) = (directory("varnish"), free_port());
        fs::write(own.join("site.vcl"), at(proxy, &format!("vcl 4.1;\n{}", vcl.replace("vcl 4.1;", "")))).unwrap();
        let (binary, file) = (program("varnishd", &["/usr/sbin"]), own.join("site.vcl").display().to_string());
        let (address, place) = (format!("127.0.0.1:{port}"), own.join("work").display().to_string());
        let command = [&binary, "-F", "-j", "none", "-n", &place, "-a", &address, "-f", &file, "-s", "malloc,16m"];
        let threads = ["-p", "thread_pools=1", "-p", "thread_pool_min=10"];
        Self::start(name, &own, port, &[command.as_slice(), &threads].concat())
    }

    fn start(name: &'static str, own: &std::path::Path, port: u16, command: &[&str]) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        Self { name, address, _daemon: Daemon::start(own, command, || TcpStream::connect(address).is_ok()) }
    }
}

/// A configuration whose proxy is at `127.0.0.1:8080`, for a proxy elsewhere.
fn at(proxy: SocketAddr, config: &str) -> String {
    let port = format!("\"{}\"", proxy.port());
    config.replace("127.0.0.1:8080", &proxy.to_string()).replace("\"8080\"", &port)
}

/// The block of the documentation in this language that has this word.
fn documented(language: &str, word: &str) -> String {
    let page = include_str!("../../docs/operations.md");
    let blocks = page.split("```").filter_map(|block| block.strip_prefix(language));
    let mut found = blocks.filter(|block| block.contains(word));
    let block = found.next().unwrap_or_else(|| panic!("no block of {language} with {word}"));
    assert!(found.next().is_none(), "two blocks of {language} with {word}");
    block.to_owned()
}
