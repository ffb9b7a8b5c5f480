//! What a backend may make of a path.
//!
//! Routes decide who may go where, so a path is compared as a backend reads it: percent-decoded, without `.`, `..` and
//! `//`. Backends differ: some take `%2F` and `\` for a slash, some cut `;parameters` off a segment (Tomcat), some
//! merge slashes before they look at `..` and some after. A path that none of this concerns is read in place; a path that has
//! more than one reading leads somewhere only if all of them lead there.

use smallvec::SmallVec;

/// One reading of a path.
pub(super) type Way = SmallVec<[u8; 128]>;

/// What backends make of one path.
pub(super) enum Reading<'a> {
    /// What it says.
    Plain(&'a [u8]),
    /// One or more paths, all different.
    Ways(Vec<Way>),
    /// Nothing that can be compared: it has a NUL, at which some backends stop reading.
    Nothing,
}

/// In what backends differ.
#[derive(Clone, Copy)]
struct Habit {
    /// `%2F`, `%5C` and `\` are slashes.
    slashes: bool,
    /// `;` and what follows is no part of a segment.
    parameters: bool,
    /// `//` becomes `/` before `..` is looked at, not after.
    merges: bool,
}

/// Stands, in a decoded path, for what only some backends take for a slash. A NUL cannot be there otherwise.
const MAYBE_SLASH: u8 = 0;

/// All readings of a path.
pub(super) fn read(path: &[u8]) -> Reading<'_> {
    if !path.starts_with(b"/") || is_plain(path) {
        return Reading::Plain(path);
    }
    let Some(decoded) = decode(path) else { return Reading::Nothing };
    let both = |matter: bool| if matter { &[true, false][..] } else { &[true] };
    let mut ways = Vec::new();
    for &slashes in both(decoded.contains(&MAYBE_SLASH)) {
        for &parameters in both(decoded.contains(&b';')) {
            for &merges in both(decoded.windows(2).any(|pair| pair == b"..")) {
                let way = resolve(&decoded, Habit { slashes, parameters, merges });
                if !ways.contains(&way) {
                    ways.push(way);
                }
            }
        }
    }
    Reading::Ways(ways)
}

/// What is left of a path when a prefix is cut off: empty, or a path of its own. The prefix may be spelled in any way.
///
/// `None` when the path does not begin so as it stands: what leads to a route by `..` or `//` cannot be cut.
#[must_use]
pub fn strip_prefix<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    let is_whole = |rest: &&str| rest.is_empty() || rest.starts_with('/');
    if is_plain(path.as_bytes()) {
        return path.strip_prefix(prefix).filter(is_whole);
    }
    let end = path.match_indices('/').nth(prefix.matches('/').count()).map_or(path.len(), |(end, _)| end);
    let (start, rest) = path.split_at(end);
    let begins_so = decode(start.as_bytes())? == decode(prefix.as_bytes())?;
    // `/x/../x/y` reads like `/x/y`, and cut off would be `/../x/y`.
    let habit = Habit { slashes: true, parameters: true, merges: true };
    let mut joined = decode(prefix.as_bytes())?;
    if !rest.is_empty() {
        joined.extend_from_slice(&resolve(&decode(rest.as_bytes())?, habit));
    }
    (begins_so && resolve(&decode(path.as_bytes())?, habit) == joined).then_some(rest)
}

/// Whether there is nothing to decode, to resolve or to doubt.
fn is_plain(path: &[u8]) -> bool {
    let mut before = b'/';
    path.iter().enumerate().all(|(i, &byte)| {
        let after_slash = before == b'/' && i > 0;
        before = byte;
        let doubtful = matches!(byte, b'%' | b'\\' | b';') || (after_slash && matches!(byte, b'/' | b'.'));
        !doubtful
    })
}

/// Decodes once, as servers do. A `%` that encodes nothing stands for itself.
fn decode(path: &[u8]) -> Option<Way> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let mut decoded = Way::with_capacity(path.len());
    let mut rest = path;
    while let [first, tail @ ..] = rest {
        let (byte, tail) = match (first, tail) {
            (b'%', [high, low, tail @ ..]) => match (digit(high), digit(low)) {
                (Some(high), Some(low)) => match u8::try_from(high * 16 + low) {
                    Ok(b'/' | b'\\') => (MAYBE_SLASH, tail),
                    Ok(0) | Err(_) => return None,
                    Ok(byte) => (byte, tail),
                },
                _ => (b'%', &rest[1..]),
            },
            (b'\\', tail) => (MAYBE_SLASH, tail),
            (0, _) => return None,
            (byte, tail) => (*byte, tail),
        };
        decoded.push(byte);
        rest = tail;
    }
    Some(decoded)
}

fn resolve(decoded: &[u8], habit: Habit) -> Way {
    let is_slash = |byte: &u8| *byte == b'/' || (habit.slashes && *byte == MAYBE_SLASH);
    let mut kept: SmallVec<[&[u8]; 16]> = SmallVec::new();
    let mut ends_in_slash = false;
    // The path begins with a slash: what stands in front of it is no segment.
    for segment in decoded.split(is_slash).skip(1) {
        let segment = match segment.iter().position(|byte| *byte == b';') {
            Some(semicolon) if habit.parameters => &segment[..semicolon],
            _ => segment,
        };
        ends_in_slash = matches!(segment, b"" | b"." | b"..");
        match segment {
            b".." => drop(kept.pop()),
            b"." => {}
            b"" if habit.merges => {}
            segment => kept.push(segment),
        }
    }
    let mut way = Way::new();
    for segment in kept.iter().filter(|segment| !segment.is_empty()) {
        way.push(b'/');
        way.extend(segment.iter().map(|byte| if *byte == MAYBE_SLASH { b'\\' } else { *byte }));
    }
    if ends_in_slash || way.is_empty() {
        way.push(b'/');
    }
    way
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(path: &str, expected: &[&str]) {
        let ways = match read(path.as_bytes()) {
            Reading::Plain(path) => vec![String::from_utf8_lossy(path).into_owned()],
            Reading::Ways(ways) => ways.iter().map(|way| String::from_utf8_lossy(way).into_owned()).collect(),
            Reading::Nothing => Vec::new(),
        };
        assert_eq!(ways, expected, "{path}");
    }

    #[test]
    fn paths_are_read_as_backends_read_them() {
        check("/a/b.c", &["/a/b.c"]);
        check("*", &["*"]);
        check("/a/.", &["/a/"]);
        check("/a/..", &["/"]);
        check("/../../a", &["/a"]);
        check("//a///b/", &["/a/b/"]);
        check("/%7euser/%C3%A9", &["/~user/\u{e9}"]);
        check("/100%/%4/%zz", &["/100%/%4/%zz"]);
        check("/a;x", &["/a", "/a;x"]);
        check("/a;x/", &["/a/", "/a;x/"]);
        check("/a/..;x/b", &["/b", "/a/..;x/b"]);
        check("/a%2fb", &["/a/b", "/a\\b"]);
        check("/a\\..\\b", &["/b", "/a\\..\\b"]);
        check("/a//../b", &["/b", "/a/b"]);
        check("/%00", &[]);
        check("/%2e%2E/x", &["/x"]);
        check("/%252e%252e/x", &["/%2e%2e/x"]);
    }

    #[test]
    fn a_prefix_is_cut_off_however_it_is_spelled() {
        for (path, prefix, expected) in [
            ("/reports/a%2Fb", "/reports", Some("/a%2Fb")),
            ("/reports", "/reports", Some("")),
            ("/reports/", "/reports", Some("/")),
            ("/%72eports/x", "/reports", Some("/x")),
            ("/a/%62/c", "/a/b", Some("/c")),
            ("/caf%c3%a9/x", "/caf\u{e9}", Some("/x")),
            ("/reports/a/../b", "/reports", Some("/a/../b")),
            ("/reports/../reports/b", "/reports", None),
            ("/reports/..", "/reports", None),
            ("/reportsx", "/reports", None),
            ("//reports/x", "/reports", None),
            ("/x/../reports/y", "/reports", None),
            ("/a%2fb/c", "/a/b", None),
        ] {
            assert_eq!(strip_prefix(path, prefix), expected, "{path}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_no_reading_needs_another_one(path in "(/|\\.|%2e|%2f|\\\\|;|a|%|%25){0,12}") {
            if let Reading::Ways(ways) = read(format!("/{path}").as_bytes()) {
                prop_assert!(!ways.is_empty() && ways.len() <= 8);
                for way in ways {
                    prop_assert!(way.starts_with(b"/") && !way.windows(2).any(|pair| pair == b"//"));
                    prop_assert!(!way.split(|b| *b == b'/').any(|segment| matches!(segment, b"." | b"..")));
                }
            }
        }
    }
}
