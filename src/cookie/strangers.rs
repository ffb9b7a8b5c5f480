//! The cookies in `Cookie` that are not ours: what does not change keeps its octets.

use super::set_cookie::pair;

/// What becomes of one cookie on its way to the backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It stays as it came.
    Keep,
    /// It is cut out.
    Remove,
    /// It gets this value.
    Replace(Vec<u8>),
}

/// Decides about each cookie of a line by its name and value; one without `=` has a name and no value.
///
/// `None` when all stay as they came.
#[must_use]
pub fn rewrite(line: &[u8], mut decide: impl FnMut(&[u8], Option<&[u8]>) -> Fate) -> Option<Vec<u8>> {
    let mut is_changed = false;
    let mut kept = Vec::with_capacity(line.len());
    for part in line.split(|byte| *byte == b';') {
        let (name, value) = pair(part);
        let fate = if name.is_empty() && value.is_none() { Fate::Keep } else { decide(name, value) };
        is_changed |= fate != Fate::Keep;
        let lead = if kept.is_empty() { &b""[..] } else { b";" };
        match fate {
            Fate::Keep => {
                kept.extend_from_slice(lead);
                // Blanks in front of what becomes the first one belong to nobody.
                kept.extend_from_slice(if kept.is_empty() { part.trim_ascii_start() } else { part });
            }
            Fate::Replace(value) => {
                kept.extend_from_slice(lead);
                kept.extend_from_slice(if kept.is_empty() { b"" } else { b" " });
                kept.extend_from_slice(name);
                kept.push(b'=');
                kept.extend_from_slice(&value);
            }
            Fate::Remove => {}
        }
    }
    is_changed.then_some(kept)
}

/// The names behind which a parser that splits at blanks, commas or quotes finds cookies within a value.
///
/// Some do (Python's own, Beaker, `WebOb`): there, `a=1, id=x` is a cookie `id` that nobody else sees.
pub fn hidden(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let is_gap = |byte: &u8| matches!(byte, b' ' | b'\t' | b',' | b'"');
    value.split(is_gap).skip(1).filter_map(|piece| pair(piece).1.map(|_| pair(piece).0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(line: &str, expected: Option<&str>) {
        let decided = rewrite(line.as_bytes(), |name, _| match name {
            b"gone" => Fate::Remove,
            b"new" => Fate::Replace(b"2".to_vec()),
            _ => Fate::Keep,
        });
        assert_eq!(decided.as_deref(), expected.map(str::as_bytes), "{line}");
    }

    #[test]
    fn the_others_stay_octet_identical() {
        check("a=1; b=\"2;x\" ;; c", None);
        check("a=1; gone=x; b = 2 ;;c", Some("a=1; b = 2 ;;c"));
        check("gone=x; a=1", Some("a=1"));
        check("a=1;gone", Some("a=1"));
        check("gone=x; gone=y", Some(""));
        check("new=1; a=1; new =  3;b", Some("new=2; a=1; new=2;b"));
        check("gone=1; new=1", Some("new=2"));
    }

    #[test]
    fn cookies_within_a_value_are_found() {
        let found =
            |value: &str| hidden(value.as_bytes()).map(|name| String::from_utf8_lossy(name).into_owned()).collect();
        let none: Vec<String> = Vec::new();
        assert_eq!(found("abc=def"), none);
        let all: Vec<String> = found("1, id=x sid=y,\"t=z");
        assert_eq!(all, ["id", "sid", "t"]);
    }

    proptest! {
        #[test]
        fn nothing_panics_and_what_is_removed_is_gone(line in "[a-c =;\"]{0,30}(gone=1)?[; a-c=]{0,10}") {
            let cut = |line: &[u8]| rewrite(line, |name, _| if name == b"gone" { Fate::Remove } else { Fate::Keep });
            let once = cut(line.as_bytes());
            prop_assert!(once.is_none_or(|once| cut(&once).is_none()));
        }
    }
}
