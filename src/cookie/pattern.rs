//! Names of cookies as an operator writes them: exactly, or with `*`.

use super::CookieProblem;
use percent_encoding::percent_decode;

/// The longest name that can be written.
const MAX_NAME_BYTES: usize = 128;

/// The names that a rule is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePattern {
    text: Box<str>,
    folded: Box<[u8]>,
}

impl NamePattern {
    /// Reads a name; `*` stands for any characters or none.
    ///
    /// # Errors
    /// [`CookieProblem`] for what no cookie is named.
    pub fn parse(text: &str) -> Result<Self, CookieProblem> {
        let good = |byte: u8| byte.is_ascii_graphic() && !b"=;,\"\\".contains(&byte);
        if text.is_empty() || text.len() > MAX_NAME_BYTES || !text.bytes().all(good) {
            return Err(CookieProblem {
                setting: "name",
                message: format!("`{}` is not the name of a cookie", text.escape_default()),
                remedy: "write a name such as `PHPSESSID`, or one with `*` such as `wp_*`".into(),
            });
        }
        Ok(Self { text: text.into(), folded: fold(text.as_bytes()).into() })
    }

    /// The text of the file.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a name is meant, octet for octet.
    #[must_use]
    pub fn matches(&self, name: &[u8]) -> bool {
        glob(self.text.as_bytes(), name)
    }

    /// Whether some backend may read `name` as one that is meant.
    ///
    /// PHP reads `my.id` and `my id` as `my_id`, an old one decodes `%`, and `id[0]` is a part of `id`.
    #[must_use]
    pub fn resembles(&self, name: &[u8]) -> bool {
        self.matches(name) || glob(&self.folded, &fold(name))
    }

    /// Whether every name of `other` is one of ours.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        // A star of `other` can only be taken up by one of ours.
        self.matches(other.text.as_bytes())
    }
}

/// Names that backends confuse have the same fold; a star stays what it is.
fn fold(name: &[u8]) -> Vec<u8> {
    let decoded: Vec<u8> = percent_decode(name).collect();
    let is_junk = |byte: &u8| *byte <= b' ' || *byte >= 0x7f || *byte == b'"';
    let start = decoded.iter().position(|byte| !is_junk(byte)).unwrap_or(decoded.len());
    let name = decoded[start..].split(|byte| matches!(byte, b'[' | 0)).next().unwrap_or_default();
    let end = name.iter().rposition(|byte| !is_junk(byte)).map_or(0, |last| last + 1);
    name[..end].iter().map(|byte| if byte.is_ascii_alphanumeric() || *byte == b'*' { *byte } else { b'_' }).collect()
}

/// Whether `text` is of the pattern; goes back to the last star only, so that it takes no more than their product.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p + 1, t));
            p += 1;
        } else if pattern.get(p) == Some(&text[t]) {
            (p, t) = (p + 1, t + 1);
        } else if let Some((after, taken)) = star {
            star = Some((after, taken + 1));
            (p, t) = (after, taken + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pattern(text: &str) -> NamePattern {
        NamePattern::parse(text).unwrap()
    }

    #[test]
    fn a_name_is_meant_exactly_or_by_its_star() {
        for (text, name, expected) in [
            ("PHPSESSID", "PHPSESSID", true),
            ("PHPSESSID", "phpsessid", false),
            ("PHPSESSID", "PHPSESSID2", false),
            ("wp_*", "wp_", true),
            ("wp_*", "wp_a", true),
            ("wp_*", "wq_a", false),
            ("*", "", true),
            ("*sess*", "php_session_id", true),
            ("*sess*id", "php_sesid", false),
            ("a*b*c", "abbbcbc", true),
        ] {
            assert_eq!(pattern(text).matches(name.as_bytes()), expected, "{text} {name}");
        }
        for bad in ["", "a b", "a=b", "a;b", "a,b", "\u{e4}", &"a".repeat(129)] {
            assert!(NamePattern::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_that_a_backend_may_confuse_resemble_each_other() {
        for name in
            ["my.id", "my_id", "my id", "my%2Eid", " my-id", "my.id[0]", "my.id%00x", "\"my.id\"", "\u{a0}my.id"]
        {
            assert!(pattern("my.id").resembles(name.as_bytes()), "{name}");
            assert!(pattern("my.*").resembles(name.as_bytes()), "{name}");
        }
        for name in ["my.id2", "MY.id", "amy.id", ""] {
            assert!(!pattern("my.id").resembles(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn a_pattern_covers_what_can_never_reach_another() {
        assert!(pattern("*").covers(&pattern("a*")) && pattern("a*").covers(&pattern("ab*c")));
        assert!(pattern("a").covers(&pattern("a")) && !pattern("ab*").covers(&pattern("a*")));
    }

    proptest! {
        #[test]
        fn a_pattern_covers_the_names_it_was_made_of(pieces in prop::collection::vec("[a-c]{0,3}", 1..5), fill in "[a-c]{0,4}") {
            let text = format!("x{}", pieces.join("*"));
            let name = format!("x{}", pieces.join(&fill));
            prop_assert!(pattern(&text).matches(name.as_bytes()) || pieces.len() == 1);
        }
    }
}
