//! `[upstreams.<name>]`.

use super::super::file::{Backend, Upstream};
use super::super::given::{At, Named, Section, Short};
use super::super::nearest::{nearest, suggestion};
use super::super::problem::Problem;
use super::super::unit::Fault;
use super::Resolver;
use crate::proxy::options::{HostHeader, ServerAddress, ServerOptions, UpstreamOptions};
use crate::wire::{PROFILES, Profile};
use http::{HeaderValue, Uri};
use std::net::IpAddr;
use std::time::Duration;

pub(super) fn upstreams(file: &Named<Section<Upstream>>, to: &mut Resolver<'_>) -> Vec<Option<UpstreamOptions>> {
    file.iter().map(|(name, upstream)| one(name, upstream, to)).collect()
}

fn one(name: &At<String>, upstream: &Upstream, to: &mut Resolver<'_>) -> Option<UpstreamOptions> {
    let servers = servers(name, upstream, to);
    let options = UpstreamOptions {
        name: name.value.clone(),
        servers: servers.clone().unwrap_or_default(),
        profile: profile(upstream, to),
        host_header: host_header(upstream, to),
        connect_timeout: to.time("connect_timeout", &upstream.connect_timeout, Duration::from_secs(3)),
        request_timeout: to.time("request_timeout", &upstream.request_timeout, Duration::from_secs(60)),
        idle_timeout: to.time("idle_timeout", &upstream.idle_timeout, Duration::from_secs(4)),
        retries: to.within("retries", &upstream.retries, 1, 0..=10),
    };
    servers.map(|_| options)
}

fn servers(name: &At<String>, upstream: &Upstream, to: &mut Resolver<'_>) -> Option<Vec<ServerOptions>> {
    let written = upstream.servers.get().map_or(&[][..], Vec::as_slice);
    if written.is_empty() {
        to.missing(&["upstreams", &name.value, "servers"], || {
            Problem::error("config::missing", format!("upstream `{}` has no server", name.value))
                .at(upstream.servers.span_or(&name.span))
                .help("add `servers = [\"http://127.0.0.1:9000\"]`")
        });
        return None;
    }
    let servers: Vec<_> = written.iter().map(|server| backend(server, to)).collect();
    let servers: Vec<_> = servers.into_iter().collect::<Option<_>>()?;
    if servers.iter().all(|server| server.backup) {
        let message = format!("every server of upstream `{}` is a backup", name.value);
        let problem = Problem::error("upstream::backup", message).at(upstream.servers.span_or(&name.span));
        to.report(problem.help("remove `backup = true` from at least one of them"));
    }
    Some(servers)
}

fn backend(At { value: Short(written), span }: &At<Short<Backend>>, to: &mut Resolver<'_>) -> Option<ServerOptions> {
    let weight = to.within("weight", &written.weight, 1, 1..=1000);
    let Some(url) = written.url.get() else {
        to.missing(&["upstreams"], || {
            Problem::error("config::missing", "a server has no `url`")
                .at(span.clone())
                .help("write `{ url = \"http://10.0.0.11:8080\" }`")
        });
        return None;
    };
    match parse_server(url) {
        Ok((address, tls_name)) => {
            let address = match address {
                ServerAddress::Unix(path) => ServerAddress::Unix(to.around.path(path)),
                tcp @ ServerAddress::Tcp { .. } => tcp,
            };
            Some(ServerOptions { address, tls_name, weight, backup: written.backup.or(false) })
        }
        Err(fault) => {
            let problem = Problem::error("upstream::server", fault.message);
            to.report(problem.at(written.url.span_or(span)).help(fault.remedy));
            None
        }
    }
}

/// Where a server is, and the name that its certificate must have if it speaks TLS.
fn parse_server(text: &str) -> Result<(ServerAddress, Option<String>), Fault> {
    let no_server = || {
        Fault::new(
            format!("`{}` is not the URL of a server", text.escape_default()),
            "write `http://10.0.0.11:8080`, `https://backend.example.org` or `unix:/run/app.sock`",
        )
    };
    if let Some(path) = text.strip_prefix("unix:") {
        let good = path.len() > 1 && !path.starts_with("//") && !path.ends_with('/');
        return if good { Ok((ServerAddress::Unix(path.into()), None)) } else { Err(no_server()) };
    }
    let (tls, rest) = match text.split_once("://") {
        Some(("http", rest)) => (false, rest),
        Some(("https", rest)) => (true, rest),
        Some(_) => return Err(no_server()),
        None => return Err(Fault::new(no_server().message, format!("write `http://{text}`"))),
    };
    if rest.split('/').next().is_some_and(|authority| authority.contains('@')) {
        let remedy = "let the application take the user from the session, or set the header with `request_headers`";
        return Err(Fault::new("the URL of a server has no user and no password", remedy));
    }
    let uri: Uri = text.parse().map_err(|_| no_server())?;
    if uri.path_and_query().is_some_and(|path| path.as_str() != "/") || rest.contains('#') {
        let remedy = "leave the path out: the path of the request is forwarded, `strip_prefix` of a route shortens it";
        return Err(Fault::new(format!("`{text}` has a path, and a server has none"), remedy));
    }
    let authority = uri.authority().ok_or_else(no_server)?;
    let host = authority.host();
    let port = match authority.as_str()[host.len()..].strip_prefix(':') {
        None if tls => 443,
        None => 80,
        Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or_else(no_server)?,
    };
    let host = host.trim_matches(['[', ']']);
    if host.is_empty() {
        return Err(no_server());
    }
    if tls && host.parse::<IpAddr>().is_ok() {
        let remedy = "write the host name that stands in its certificate";
        return Err(Fault::new(format!("`{text}` has an address, and TLS needs a host name to verify"), remedy));
    }
    Ok((ServerAddress::Tcp { host: host.into(), port }, tls.then(|| host.into())))
}

fn profile(upstream: &Upstream, to: &mut Resolver<'_>) -> &'static Profile {
    let Some(name) = upstream.profile.at() else { return Profile::generic() };
    Profile::find(&name.value).unwrap_or_else(|| {
        let names = PROFILES.iter().map(|profile| profile.name);
        let problem = Problem::error("upstream::profile", format!("there is no profile `{}`", name.value));
        to.report(problem.at(name.span.clone()).help(suggestion(&name.value, names, "")));
        Profile::generic()
    })
}

fn host_header(upstream: &Upstream, to: &mut Resolver<'_>) -> HostHeader {
    let Some(host) = upstream.host_header.at() else { return HostHeader::Preserve };
    let text = host.value.as_str();
    let remedy = match (text, text.parse::<http::uri::Authority>(), HeaderValue::from_str(text)) {
        ("preserve", ..) => return HostHeader::Preserve,
        ("upstream", ..) => return HostHeader::Upstream,
        (_, Ok(authority), Ok(value)) if !text.contains('@') && !authority.host().is_empty() => {
            match nearest(text, ["preserve", "upstream"]) {
                Some(word) => format!("did you mean `{word}`?"),
                None => return HostHeader::Fixed(value),
            }
        }
        _ => "write `preserve`, `upstream`, or a host such as `www.example.org`".into(),
    };
    let problem =
        Problem::error("upstream::host_header", format!("`{}` is not a value of `host_header`", text.escape_default()));
    to.report(problem.at(host.span.clone()).help(remedy));
    HostHeader::Preserve
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read() {
        let tcp = |host: &str, port| ServerAddress::Tcp { host: host.into(), port };
        for (text, address, tls) in [
            ("http://10.0.0.11:8080", tcp("10.0.0.11", 8080), None),
            ("http://app", tcp("app", 80), None),
            ("http://app/", tcp("app", 80), None),
            ("https://backend.example.org", tcp("backend.example.org", 443), Some("backend.example.org")),
            ("http://[::1]:9000", tcp("::1", 9000), None),
            ("unix:/run/app.sock", ServerAddress::Unix("/run/app.sock".into()), None),
        ] {
            assert_eq!(parse_server(text).unwrap(), (address, tls.map(String::from)), "{text}");
        }
    }

    #[test]
    fn what_is_no_server_is_refused_with_what_would_be_right() {
        for (text, remedy) in [
            ("127.0.0.1:9000", "write `http://127.0.0.1:9000`"),
            ("ftp://x", "unix:/run/app.sock"),
            ("http://", "unix:/run/app.sock"),
            ("http://app:0", "unix:/run/app.sock"),
            ("http://app:99999", "unix:/run/app.sock"),
            ("http://app:", "unix:/run/app.sock"),
            ("http://a b", "unix:/run/app.sock"),
            ("http://app/x", "`strip_prefix`"),
            ("http://app?x", "`strip_prefix`"),
            ("http://user:hunter2@app", "`request_headers`"),
            ("https://10.0.0.1", "host name"),
            ("https://[::1]:443", "host name"),
            ("unix:", "unix:/run/app.sock"),
            ("unix:///run/x", "unix:/run/app.sock"),
        ] {
            let fault = parse_server(text).unwrap_err();
            assert!(fault.remedy.contains(remedy) && !fault.message.contains("hunter2"), "{text}: {fault}");
        }
    }
}
