//! Requests that no person caused: what a browser fetches ahead of any wish, and what a script asks for by itself.

/// Whether what scripts ask for extends the sessions of a route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Background {
    /// As any other request: in an application of one page everything that a person does comes from a script.
    #[default]
    Extend,
    /// No: only what a person navigates to, and the parts of such a page, count as use.
    Ignore,
}

/// What the fields of a request say about its cause. Anybody can say so, and loses nothing but time of his own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cause {
    /// The browser asks before anybody has asked for it.
    is_ahead: bool,
    /// A script, or the browser on a script's behalf.
    is_scripted: bool,
}

impl Cause {
    /// Takes notice of a field; `name` is in lower case.
    pub fn note(&mut self, name: &str, value: &[u8]) {
        let is = |word: &str| value.trim_ascii().eq_ignore_ascii_case(word.as_bytes());
        match name {
            // `Sec-Purpose: prefetch;prerender` is a structured field; the others are older ways to say it.
            "sec-purpose" | "purpose" | "x-purpose" | "x-moz" => {
                let start = value.trim_ascii_start().get(.."prefetch".len());
                let is_prefetch = start.is_some_and(|start| start.eq_ignore_ascii_case(b"prefetch"));
                self.is_ahead |= is_prefetch || is("preview");
            }
            "sec-fetch-dest" => {
                let scripted = ["empty", "websocket", "serviceworker", "report"];
                self.is_scripted |= scripted.into_iter().any(is);
            }
            // Browsers send no fetch metadata to sites without TLS.
            "x-requested-with" => self.is_scripted |= is("xmlhttprequest"),
            _ => {}
        }
    }

    /// Whether a request with this cause is a use of the session.
    #[must_use]
    pub const fn is_use(self, background: Background) -> bool {
        !(self.is_ahead || self.is_scripted && matches!(background, Background::Ignore))
    }
}

/// Whether [`Cause::note`] may have an interest in a field of this name: a look at most names' first letter is enough.
#[must_use]
pub fn may_tell(name: &str) -> bool {
    matches!(name.as_bytes(), [b's', b'e', b'c', b'-', ..] | [b'p', b'u', ..] | [b'x', b'-', ..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_use(fields: &[(&str, &str)], background: Background) -> bool {
        let mut cause = Cause::default();
        for (name, value) in fields {
            cause.note(name, value.as_bytes());
        }
        cause.is_use(background)
    }

    #[test]
    fn what_is_fetched_ahead_is_never_a_use() {
        // L8, R17
        for (name, value) in [
            ("sec-purpose", "prefetch"),
            ("sec-purpose", "prefetch;prerender"),
            ("sec-purpose", "Prefetch; anonymous-client-ip"),
            ("purpose", "prefetch"),
            ("x-moz", "prefetch"),
            ("x-purpose", "preview"),
        ] {
            assert!(may_tell(name), "{name}");
            for background in [Background::Extend, Background::Ignore] {
                assert!(!is_use(&[("accept", "*/*"), (name, value), ("x-a", "b")], background), "{name}: {value}");
            }
        }
    }

    #[test]
    fn what_a_script_asks_for_is_a_use_unless_the_route_says_otherwise() {
        // R17
        for (scripted, name, value) in [
            (true, "sec-fetch-dest", "empty"),
            (true, "sec-fetch-dest", "websocket"),
            (true, "sec-fetch-dest", "serviceworker"),
            (true, "x-requested-with", "XMLHttpRequest"),
            (false, "sec-fetch-dest", "document"),
            (false, "sec-fetch-dest", "image"),
            (false, "sec-fetch-mode", "cors"),
            (false, "x-requested-with", "org.example.app"),
            (false, "purpose", ""),
            (false, "sec-purpose", "pre"),
        ] {
            assert!(may_tell(name), "{name}");
            assert!(is_use(&[(name, value)], Background::Extend), "{name}: {value}");
            assert_eq!(is_use(&[(name, value)], Background::Ignore), !scripted, "{name}: {value}");
        }
        assert!(is_use(&[], Background::Ignore), "a client that says nothing");
    }
}
