//! Which route takes a request: the first whose host, path and methods fit, in the order of the file.
//!
//! Paths are compared as a backend may read them, not as they are spelled (see `route/reading.rs`); what is forwarded is
//! always the path as it came.

mod pattern;
mod reading;
mod shadow;

pub use pattern::{Host, PathPattern, PatternProblem, parse_method};
pub use reading::strip_prefix;
pub use shadow::shadowed;

use http::Method;
use reading::Reading;
use std::fmt;

/// Which requests a route takes. The default takes every request.
#[derive(Clone, Debug, Default)]
pub struct Matcher {
    hosts: Box<[Host]>,
    path: PathPattern,
    methods: Box<[Method]>,
}

impl Matcher {
    /// Takes requests for any of `hosts`, with a path that fits, and with any of `methods`; an empty list takes all.
    #[must_use]
    pub fn new(hosts: Vec<Host>, path: PathPattern, methods: Vec<Method>) -> Self {
        Self { hosts: hosts.into(), path, methods: methods.into() }
    }

    /// The pattern of its path.
    #[must_use]
    pub const fn path(&self) -> &PathPattern {
        &self.path
    }

    fn has_host(&self, host: &str) -> bool {
        self.hosts.is_empty() || self.hosts.iter().any(|pattern| pattern.matches(host))
    }

    /// `GET` brings `HEAD` along: both ask for the same (RFC 9110, section 9.3.2), and one must not lead past the other.
    fn has_method(&self, method: &Method) -> bool {
        let taken = |ours: &Method| ours == method || (*ours == Method::GET && *method == Method::HEAD);
        self.methods.is_empty() || self.methods.iter().any(taken)
    }

    /// `None` when everything fits, else the first thing that does not.
    fn objection(&self, host: &str, path: &[u8], method: &Method) -> Option<Verdict> {
        if !self.has_host(host) {
            Some(Verdict::Host)
        } else if !self.path.matches(path) {
            Some(Verdict::Path)
        } else if !self.has_method(method) {
            Some(Verdict::Method)
        } else {
            None
        }
    }
}

impl fmt::Display for Matcher {
    /// Hosts, path and methods as the file writes them, such as `GET apps.example.org/reports/*`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let join = |list: Vec<String>| list.join(",");
        if !self.methods.is_empty() {
            write!(f, "{} ", join(self.methods.iter().map(ToString::to_string).collect()))?;
        }
        write!(f, "{}{}", join(self.hosts.iter().map(ToString::to_string).collect()), self.path)
    }
}

/// What a route says to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It takes the request.
    Taken,
    /// It would take the request, but an earlier route does.
    Later,
    /// Its hosts do not fit.
    Host,
    /// Its path does not fit.
    Path,
    /// Its methods do not fit.
    Method,
    /// It fits only one of the ways in which the path can be read, so that no route takes the request.
    Ambiguous,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Taken => "takes the request",
            Self::Later => "fits as well, but an earlier route takes the request",
            Self::Host => "another host",
            Self::Path => "another path",
            Self::Method => "another method",
            Self::Ambiguous => {
                "fits one reading of the path only: backends read it in different ways, so it is refused"
            }
        })
    }
}

/// Routes in the order of the file, each with what it leads to.
#[derive(Clone, Debug)]
pub struct RouteTable<T> {
    routes: Vec<(Matcher, T)>,
}

impl<T> RouteTable<T> {
    /// A table of routes, the first match wins.
    #[must_use]
    pub const fn new(routes: Vec<(Matcher, T)>) -> Self {
        Self { routes }
    }

    /// What the first route leads to that takes the request; `path` is the raw path without its query.
    ///
    /// `None` also for a path that different backends would read as paths of different routes, such as
    /// `/admin/..%2Fpublic`, and for one with a NUL: nobody reaches a route by its spelling.
    #[must_use]
    pub fn find(&self, host: &str, path: &str, method: &Method) -> Option<&T> {
        self.position(bare(host), path, method).map(|index| &self.routes[index].1)
    }

    /// What each route says to the request, by index.
    #[must_use]
    pub fn explain(&self, host: &str, path: &str, method: &Method) -> Vec<(usize, Verdict)> {
        let host = bare(host);
        let taken = self.position(host, path, method);
        let readings = match reading::read(path.as_bytes()) {
            Reading::Plain(path) => vec![path.to_vec()],
            Reading::Ways(ways) => ways.iter().map(|way| way.to_vec()).collect(),
            Reading::Nothing => Vec::new(),
        };
        let verdict = |(index, (matcher, _)): (usize, &(Matcher, T))| {
            let objections: Vec<_> = readings.iter().map(|path| matcher.objection(host, path, method)).collect();
            let verdict = match objections.iter().flatten().next() {
                None if objections.is_empty() => Verdict::Path,
                None if taken == Some(index) => Verdict::Taken,
                None if taken.is_some_and(|taken| taken < index) => Verdict::Later,
                Some(first) if taken.is_some() || objections.iter().all(Option::is_some) => *first,
                _ => Verdict::Ambiguous,
            };
            (index, verdict)
        };
        self.routes.iter().enumerate().map(verdict).collect()
    }

    /// The routes in order.
    pub fn iter(&self) -> impl Iterator<Item = &(Matcher, T)> {
        self.routes.iter()
    }

    fn position(&self, host: &str, path: &str, method: &Method) -> Option<usize> {
        match reading::read(path.as_bytes()) {
            Reading::Plain(path) => self.first(host, path, method),
            Reading::Ways(ways) => {
                let mut found = ways.iter().map(|path| self.first(host, path, method));
                let first = found.next().flatten()?;
                found.all(|other| other == Some(first)).then_some(first)
            }
            Reading::Nothing => None,
        }
    }

    fn first(&self, host: &str, path: &[u8], method: &Method) -> Option<usize> {
        self.routes.iter().position(|(matcher, _)| matcher.objection(host, path, method).is_none())
    }
}

/// A host without its port and without the dot of the root.
fn bare(host: &str) -> &str {
    let name = match (host.rfind(':'), host.rfind(']')) {
        (Some(colon), None) => &host[..colon],
        (Some(colon), Some(bracket)) if colon > bracket => &host[..colon],
        _ => host,
    };
    name.strip_suffix('.').unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table of `host path methods` lines, `-` for anything.
    fn table(lines: &[&str]) -> RouteTable<usize> {
        let parse = |(index, line): (usize, &&str)| {
            let [host, path, methods] = line.split(' ').collect::<Vec<_>>().try_into().expect("three words");
            let list = |text: &str| text.split(',').filter(|word| *word != "-").map(String::from).collect::<Vec<_>>();
            let path = match path.strip_prefix("re:") {
                Some(regex) => PathPattern::regex(regex).unwrap(),
                None if path == "-" => PathPattern::default(),
                None => PathPattern::parse(path).unwrap(),
            };
            let hosts = list(host).iter().map(|host| Host::parse(host).unwrap()).collect();
            let methods = list(methods).iter().map(|method| parse_method(method).unwrap()).collect();
            (Matcher::new(hosts, path, methods), index)
        };
        RouteTable::new(lines.iter().enumerate().map(parse).collect())
    }

    fn check(table: &RouteTable<usize>, method: &str, host: &str, path: &str, expected: Option<usize>) {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        assert_eq!(table.find(host, path, &method).copied(), expected, "{method} {host}{path}");
        let explained = table.explain(host, path, &method);
        let taken = explained.iter().find(|(_, verdict)| *verdict == Verdict::Taken).map(|(index, _)| *index);
        assert_eq!((taken, explained.len()), (expected, table.routes.len()), "{method} {host}{path}: {explained:?}");
    }

    #[test]
    fn the_first_match_in_the_order_of_the_file_wins() {
        let table = table(&["- /a/b GET", "- /a/* -", "- - POST", "- /c -"]);
        check(&table, "GET", "x", "/a/b", Some(0));
        check(&table, "HEAD", "x", "/a/b", Some(0));
        check(&table, "PUT", "x", "/a/b", Some(1));
        check(&table, "POST", "x", "/c", Some(2));
        check(&table, "GET", "x", "/c", Some(3));
        check(&table, "GET", "x", "/d", None);
    }

    #[test]
    fn hosts_are_compared_without_case_and_port() {
        let table = table(&["apps.example.org,*.intra.example.org /* -", "[::1] /* -"]);
        for host in [
            "apps.example.org",
            "APPS.Example.Org:8080",
            "apps.example.org.",
            "a.intra.example.org",
            "a.b.INTRA.example.org",
        ] {
            check(&table, "GET", host, "/", Some(0));
        }
        for host in
            ["", "example.org", "intra.example.org", "xintra.example.org", "apps.example.org.evil", "xapps.example.org"]
        {
            check(&table, "GET", host, "/", None);
        }
        check(&table, "GET", "[::1]:8080", "/", Some(1));
        check(&table, "GET", "[::1]", "/", Some(1));
    }

    #[test]
    fn paths_are_compared_by_segment() {
        let table = table(&["- /x/* -", "- /y -", "- /z/ -"]);
        for path in ["/x", "/x/", "/x/y", "/x/y/z"] {
            check(&table, "GET", "h", path, Some(0));
        }
        check(&table, "GET", "h", "/y", Some(1));
        check(&table, "GET", "h", "/z/", Some(2));
        for path in ["/xy", "/X", "/y/", "/y/a", "/z", "/", "*", ""] {
            check(&table, "GET", "h", path, None);
        }
    }

    #[test]
    fn an_encoding_leads_to_the_route_of_what_it_encodes() {
        let table = table(&["- /admin/* -", "- /caf\u{e9} -", "- /* -"]);
        for path in [
            "/a/../admin",
            "/%61dmin",
            "//admin",
            "/./admin/",
            "/%2e%2E/admin",
            "/a/%2e%2e/admin",
            "/admin//x",
            "/admin/x%2Fy",
            "/admin/%2e%2e%2fadmin",
        ] {
            check(&table, "GET", "h", path, Some(0));
        }
        check(&table, "GET", "h", "/caf%C3%A9", Some(1));
        check(&table, "GET", "h", "/caf%c3%a9", Some(1));
        for path in ["/adminx", "/admi%6E%20", "/%2561dmin", "/a%2Fb", "/a;v=1/b"] {
            check(&table, "GET", "h", path, Some(2));
        }
    }

    #[test]
    fn a_path_that_reads_in_two_ways_leads_nowhere() {
        let table = table(&["- /admin/* -", "- /* -"]);
        for path in [
            "/admin/..%2fpublic",
            "/public%2f..%2fadmin",
            "/public/..;/admin",
            "/admin;x/y",
            "/x\\..\\admin",
            "/admin%00",
            "/a%3b/../admin;x",
        ] {
            check(&table, "GET", "h", path, None);
        }
        let verdicts = |path| table.explain("h", path, &Method::GET);
        assert_eq!(verdicts("/admin;x"), [(0, Verdict::Ambiguous), (1, Verdict::Ambiguous)]);
        assert_eq!(verdicts("/a%00"), [(0, Verdict::Path), (1, Verdict::Path)]);
    }

    #[test]
    fn a_regex_is_anchored_at_its_start_only() {
        let table = table(&["- re:/v[0-9]+/ -", "- re:.*\\.php$ -", "- re:/a|/b -"]);
        check(&table, "GET", "h", "/v12/x", Some(0));
        check(&table, "GET", "h", "/x/v12/", None);
        check(&table, "GET", "h", "/x/v12/index.php", Some(1));
        check(&table, "GET", "h", "/x/index%2Ephp", Some(1));
        check(&table, "GET", "h", "/bc", Some(2));
        check(&table, "GET", "h", "/x/b", None);
    }

    #[test]
    fn every_route_says_why_not() {
        let table = table(&["a.org /* -", "- /x -", "- /y POST", "- /y -", "- /* -"]);
        let verdicts: Vec<_> =
            table.explain("b.org", "/y", &Method::GET).into_iter().map(|(_, verdict)| verdict).collect();
        assert_eq!(verdicts, [Verdict::Host, Verdict::Path, Verdict::Method, Verdict::Taken, Verdict::Later]);
    }

    #[test]
    fn a_matcher_reads_as_it_was_written() {
        let table = table(&["a.org,*.b.org /x/* GET,POST", "- - -", "- re:/v[0-9] -"]);
        let shown: Vec<String> = table.iter().map(|(matcher, _)| matcher.to_string()).collect();
        assert_eq!(shown, ["GET,POST a.org,*.b.org/x/*", "/*", "~ ^(?:/v[0-9])"]);
    }
}
