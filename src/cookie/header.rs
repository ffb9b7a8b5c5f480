//! Our cookies in `Cookie`: found by octets, cut out, and every other byte left as it came (CP1, CP2, CP3, CP6).

use super::CookieName;
use super::set_cookie::trim;
use smallvec::SmallVec;

/// A cookie that bears one of our names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// Which of the names it bears, by index.
    pub name: usize,
    /// The number of the piece, for a session that was cut into several cookies.
    pub chunk: Option<u8>,
    /// The value, as it came.
    pub value: &'a [u8],
}

/// What a backend gets to see of `Cookie`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rest {
    /// One line without a cookie of ours, or no line at all: leave it alone.
    Untouched,
    /// Nothing is left: remove the header.
    Nothing,
    /// This line in place of all that came.
    Line(Vec<u8>),
}

/// Our cookies, and what is left without them.
#[derive(Clone, Debug)]
pub struct Split<'a> {
    /// Ours, in the order in which they came.
    pub ours: SmallVec<[Found<'a>; 2]>,
    /// The others.
    pub rest: Rest,
}

/// Takes the `Cookie` lines of a request apart; several lines (HTTP/2 crumbs) are joined with `; `.
#[must_use]
pub fn split<'a>(lines: impl IntoIterator<Item = &'a [u8]>, names: &[CookieName]) -> Split<'a> {
    let lines: SmallVec<[&[u8]; 2]> = lines.into_iter().collect();
    let pairs = lines.iter().flat_map(|line| line.split(|byte| *byte == b';'));
    let ours: SmallVec<_> = pairs.filter_map(|pair| find(pair, names)).collect();
    let rest = if ours.is_empty() && lines.len() < 2 { Rest::Untouched } else { join(&lines, names) };
    Split { ours, rest }
}

/// Whether the `Cookie` lines of a request carry a cookie of this name that is not empty.
#[must_use]
pub fn carries<'a>(lines: impl IntoIterator<Item = &'a [u8]>, name: &CookieName) -> bool {
    let names = std::slice::from_ref(name);
    let mut pairs = lines.into_iter().flat_map(|line| line.split(|byte| *byte == b';'));
    pairs.any(|pair| find(pair, names).is_some_and(|found| found.chunk.is_none() && !found.value.is_empty()))
}

fn join(lines: &[&[u8]], names: &[CookieName]) -> Rest {
    let mut joined = Vec::with_capacity(lines.iter().map(|line| line.len() + 2).sum());
    for line in lines {
        let mut kept = line.split(|byte| *byte == b';').filter(|pair| find(pair, names).is_none());
        let Some(first) = kept.next() else { continue };
        if !joined.is_empty() {
            joined.extend_from_slice(b"; ");
        }
        joined.extend_from_slice(first.trim_ascii_start());
        for pair in kept {
            joined.push(b';');
            joined.extend_from_slice(pair);
        }
    }
    if joined.trim_ascii().is_empty() { Rest::Nothing } else { Rest::Line(joined) }
}

/// A pair that bears one of our names: cut at the first `=`, nothing but SP and HTAB trimmed, nothing unquoted.
fn find<'a>(pair: &'a [u8], names: &[CookieName]) -> Option<Found<'a>> {
    let equals = pair.iter().position(|byte| *byte == b'=')?;
    let (name, value) = (trim(&pair[..equals]), trim(&pair[equals + 1..]));
    names.iter().enumerate().find_map(|(index, ours)| {
        let chunk = match name.strip_prefix(ours.as_str().as_bytes())? {
            [] => None,
            [b'.', digit @ b'0'..=b'9'] => Some(digit - b'0'),
            _ => return None,
        };
        Some(Found { name: index, chunk, value })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names() -> Vec<CookieName> {
        ["session", "cart"].map(|name| CookieName::parse(name).unwrap()).into()
    }

    /// Checks what is found (name, chunk, value) and what is left.
    fn check(lines: &[&str], found: &[(usize, Option<u8>, &str)], rest: Option<&str>) {
        let names = names();
        let split = split(lines.iter().map(|line| line.as_bytes()), &names);
        let ours: Vec<_> =
            split.ours.iter().map(|f| (f.name, f.chunk, std::str::from_utf8(f.value).unwrap())).collect();
        assert_eq!(ours, found, "{lines:?}");
        let left = match &split.rest {
            Rest::Untouched => lines.first().copied(),
            Rest::Nothing => None,
            Rest::Line(line) => Some(std::str::from_utf8(line).unwrap()),
        };
        assert_eq!(left, rest, "{lines:?}");
    }

    #[test]
    fn our_cookie_is_cut_out_and_the_others_stay_octet_identical() {
        // CP6
        check(&["session=x"], &[(0, None, "x")], None);
        check(&["a=1; session=x; b=2"], &[(0, None, "x")], Some("a=1; b=2"));
        check(&["session=x; a=1"], &[(0, None, "x")], Some("a=1"));
        check(&["a=1; session=x"], &[(0, None, "x")], Some("a=1"));
        check(&["a=\"1;2\" ;b = 3;session=x;;c"], &[(0, None, "x")], Some("a=\"1;2\" ;b = 3;;c"));
        check(&["a=1; b=2"], &[], Some("a=1; b=2"));
        check(&["session=x; cart=y"], &[(0, None, "x"), (1, None, "y")], None);
        check(&["session.0=x; session.1=y; z=1"], &[(0, Some(0), "x"), (0, Some(1), "y")], Some("z=1"));
        check(&["session=x;"], &[(0, None, "x")], None);
    }

    #[test]
    fn crumbs_are_joined() {
        // CP3
        check(&["a=1", "session=x", "b=2"], &[(0, None, "x")], Some("a=1; b=2"));
        check(&["a=1", "b=2"], &[], Some("a=1; b=2"));
        check(&["session=x", "session=y"], &[(0, None, "x"), (0, None, "y")], None);
    }

    #[test]
    fn names_are_compared_octet_for_octet() {
        // CP1, CP2: no folding, no percent, no quotes, no dots for underscores
        for stranger in [
            "Session=x",
            "session =",
            "s%65ssion=x",
            "\"session\"=x",
            "sessions=x",
            "session.10=x",
            "session.a=x",
            "$session=x",
        ] {
            let found = usize::from(stranger == "session =");
            let names = names();
            assert_eq!(split([stranger.as_bytes()], &names).ours.len(), found, "{stranger}");
        }
        check(&["a[session]=1; session\t=\t x=y \t"], &[(0, None, "x=y")], Some("a[session]=1"));
    }

    proptest! {
        #[test]
        fn whatever_comes_ours_is_gone_and_nothing_panics(lines in prop::collection::vec("[ -~]{0,40}|([a-z]=1; )?session=x(; b)?", 0..4)) {
            let names = names();
            let split_once = split(lines.iter().map(String::as_bytes), &names);
            if let Rest::Line(line) = &split_once.rest {
                prop_assert!(split([line.as_slice()], &names).ours.is_empty());
            }
        }
    }
}
