//! Routes that can never match, because an earlier one takes everything that they would.

use super::{Host, Matcher};
use http::Method;

/// Every route that one earlier route hides completely, as (hidden, hiding), by index.
///
/// Only what is certain: an expression hides nothing, and neither do several routes together.
#[must_use]
pub fn shadowed(matchers: &[&Matcher]) -> Vec<(usize, usize)> {
    let hidden = |(later, matcher): (usize, &&Matcher)| {
        let earlier = matchers[..later].iter().position(|earlier| covers(earlier, matcher))?;
        Some((later, earlier))
    };
    matchers.iter().enumerate().filter_map(hidden).collect()
}

fn covers(earlier: &Matcher, later: &Matcher) -> bool {
    let host = |host: &Host| earlier.hosts.iter().any(|own| own.covers(host));
    let hosts = earlier.hosts.is_empty() || (!later.hosts.is_empty() && later.hosts.iter().all(host));
    let method = |method: &Method| earlier.has_method(method);
    let methods = earlier.methods.is_empty() || (!later.methods.is_empty() && later.methods.iter().all(method));
    hosts && methods && earlier.path.covers(&later.path)
}

#[cfg(test)]
mod tests {
    use super::super::{PathPattern, parse_method};
    use super::*;

    fn matcher(host: &str, path: &str, method: &str) -> Matcher {
        let host = Some(host).filter(|host| !host.is_empty()).map(|host| Host::parse(host).unwrap());
        let path = match path.strip_prefix('~') {
            Some(regex) => PathPattern::regex(regex).unwrap(),
            None => PathPattern::parse(path).unwrap(),
        };
        let method = Some(method).filter(|method| !method.is_empty()).map(|method| parse_method(method).unwrap());
        Matcher::new(host.into_iter().collect(), path, method.into_iter().collect())
    }

    #[test]
    fn a_route_is_hidden_only_when_an_earlier_one_takes_all_of_it() {
        for (earlier, later, hidden) in [
            (("", "/x/*", ""), ("", "/x/y/*", ""), true),
            (("", "/x/*", ""), ("", "/x", ""), true),
            (("", "/x/*", ""), ("", "/xy", ""), false),
            (("", "/x/*", ""), ("", "/*", ""), false),
            (("", "/x", ""), ("", "/x/*", ""), false),
            (("", "/x", ""), ("", "/x", ""), true),
            (("", "/*", ""), ("a.org", "~/x", "GET"), true),
            (("", "/x/*", ""), ("", "~/x/y", ""), false),
            (("", "~/x", ""), ("", "/x", ""), false),
            (("a.org", "/*", ""), ("", "/*", ""), false),
            (("*.a.org", "/*", ""), ("b.a.org", "/*", ""), true),
            (("*.a.org", "/*", ""), ("*.b.a.org", "/*", ""), true),
            (("*.a.org", "/*", ""), ("a.org", "/*", ""), false),
            (("", "/*", "GET"), ("", "/*", "HEAD"), true),
            (("", "/*", "GET"), ("", "/*", "POST"), false),
            (("", "/*", "GET"), ("", "/*", ""), false),
        ] {
            let matchers = [matcher(earlier.0, earlier.1, earlier.2), matcher(later.0, later.1, later.2)];
            let expected: &[_] = if hidden { &[(1, 0)] } else { &[] };
            assert_eq!(shadowed(&matchers.each_ref()), expected, "{earlier:?} {later:?}");
        }
    }
}
