//! Attributes forced onto a backend's `Set-Cookie` line; everything else of the line stays as it came.

use super::SameSite;
use super::set_cookie::{SetCookie, pair};

/// What a backend's cookie has at least. What the backend made stricter stays so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hardening {
    /// It has `Secure`.
    pub secure: bool,
    /// It has `HttpOnly`.
    pub http_only: bool,
    /// Its `SameSite` is no weaker than this.
    pub same_site: SameSite,
}

impl Hardening {
    /// The line with the attributes, and with another value where there is one.
    #[must_use]
    pub fn apply(&self, line: &[u8], cookie: &SetCookie<'_>, value: Option<&[u8]>) -> Vec<u8> {
        let mut parts = line.split(|byte| *byte == b';');
        let first = parts.next().unwrap_or_default();
        let mut hardened = match value {
            Some(value) => [cookie.name, b"=", value].concat(),
            None => first.to_vec(),
        };
        for part in parts {
            let (name, _) = pair(part);
            let is_set_below = ["Secure", "HttpOnly", "SameSite"];
            if !is_set_below.iter().any(|attribute| name.eq_ignore_ascii_case(attribute.as_bytes())) {
                hardened.push(b';');
                hardened.extend_from_slice(part);
            }
        }
        let same_site = stricter(self.same_site, cookie.same_site);
        let attributes = [
            (self.secure || cookie.secure, "; Secure"),
            (self.http_only || cookie.http_only, "; HttpOnly"),
            (same_site == SameSite::Strict, "; SameSite=Strict"),
            (same_site == SameSite::Lax, "; SameSite=Lax"),
            (same_site == SameSite::None, "; SameSite=None"),
        ];
        for (_, attribute) in attributes.iter().filter(|(is_set, _)| *is_set) {
            hardened.extend_from_slice(attribute.as_bytes());
        }
        hardened
    }
}

const fn stricter(least: SameSite, own: Option<SameSite>) -> SameSite {
    match (least, own) {
        (SameSite::Strict, _) | (_, Some(SameSite::Strict)) => SameSite::Strict,
        (SameSite::Lax, _) | (_, Some(SameSite::Lax)) => SameSite::Lax,
        (SameSite::None, Some(SameSite::None) | None) => SameSite::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Hardening = Hardening { secure: true, http_only: true, same_site: SameSite::Lax };

    fn check(hardening: Hardening, line: &str, expected: &str) {
        let cookie = SetCookie::parse(line.as_bytes()).unwrap();
        let hardened = hardening.apply(line.as_bytes(), &cookie, None);
        assert_eq!(std::str::from_utf8(&hardened).unwrap(), expected, "{line}");
    }

    #[test]
    fn attributes_are_added_and_the_rest_stays_octet_identical() {
        check(USUAL, "id=1", "id=1; Secure; HttpOnly; SameSite=Lax");
        check(USUAL, " id = \"1\" ;path=/x;;Foo=  b", " id = \"1\" ;path=/x;;Foo=  b; Secure; HttpOnly; SameSite=Lax");
        check(USUAL, "id=; Max-Age=0; Domain=a.b", "id=; Max-Age=0; Domain=a.b; Secure; HttpOnly; SameSite=Lax");
        check(USUAL, "id=1; secure; HTTPONLY; SameSite=None", "id=1; Secure; HttpOnly; SameSite=Lax");
    }

    #[test]
    fn what_the_backend_made_stricter_stays_so() {
        check(USUAL, "id=1; SameSite=Strict", "id=1; Secure; HttpOnly; SameSite=Strict");
        let little = Hardening { secure: false, http_only: false, same_site: SameSite::None };
        check(little, "id=1; Secure; HttpOnly; SameSite=Lax", "id=1; Secure; HttpOnly; SameSite=Lax");
        check(little, "id=1; Path=/", "id=1; Path=/; SameSite=None");
    }
}
