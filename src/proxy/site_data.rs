//! `Clear-Site-Data`: what a browser forgets with a session that was ended (CA3).

use crate::manager::SiteData;
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue};
use smallvec::SmallVec;

/// The name of the header.
pub const CLEAR_SITE_DATA: &str = "Clear-Site-Data";

/// What the browser is to forget.
pub type Forgotten = SmallVec<[SiteData; 3]>;

/// The value for an answer with these headers; none where nothing is to be forgotten.
///
/// Browsers obey it after `Set-Cookie`, so that cookies go which the same answer has set. Where one is to stay, cookies are
/// left out: our own is removed by its name in any case.
#[must_use]
pub fn value(forgotten: &[SiteData], headers: &HeaderMap) -> Option<HeaderValue> {
    let sets_cookies = || headers.get_all(SET_COOKIE).iter().any(|line| !is_removal(line.as_bytes()));
    let kinds = [SiteData::Cache, SiteData::Cookies, SiteData::Storage].into_iter();
    let named: Vec<&str> = kinds
        .filter(|kind| forgotten.contains(kind) && !(*kind == SiteData::Cookies && sets_cookies()))
        .map(|kind| match kind {
            SiteData::Cache => "\"cache\"",
            SiteData::Cookies => "\"cookies\"",
            SiteData::Storage => "\"storage\"",
        })
        .collect();
    (!named.is_empty()).then(|| HeaderValue::from_str(&named.join(", ")).ok()).flatten()
}

/// Whether a `Set-Cookie` line removes its cookie, as ours do and as most frameworks do.
fn is_removal(line: &[u8]) -> bool {
    let mut attributes = line.split(|byte| *byte == b';').skip(1).map(<[u8]>::trim_ascii);
    attributes.any(|attribute| {
        let (name, value) = attribute.split_at(attribute.iter().position(|b| *b == b'=').unwrap_or(attribute.len()));
        name.eq_ignore_ascii_case(b"max-age") && matches!(value, b"=0" | [b'=', b'-', ..])
            || name.eq_ignore_ascii_case(b"expires") && value.windows(5).any(|year| year == b" 1970")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_forgotten_unless_the_same_answer_sets_one() {
        // CA3
        let all = [SiteData::Storage, SiteData::Cookies, SiteData::Cache];
        let value = |forgotten: &[SiteData], lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(SET_COOKIE, HeaderValue::from_static(line));
            }
            value(forgotten, &headers).map(|value| value.to_str().unwrap().to_owned())
        };
        let everything = Some("\"cache\", \"cookies\", \"storage\"".to_owned());
        assert_eq!(value(&all, &[]), everything);
        assert_eq!(value(&all, &["a=; Path=/; Max-Age=0", "b=x; expires=Thu, 01 Jan 1970 00:00:00 GMT"]), everything);
        assert_eq!(value(&all, &["a=; max-age=-1", "b=; MAX-AGE=0; Secure"]), everything);
        for kept in ["b=1", "b=1; Max-Age=30", "Max-Age=0", "b=1; Max-Age"] {
            assert_eq!(value(&all, &["a=; Max-Age=0", kept]), Some("\"cache\", \"storage\"".into()), "{kept}");
            assert_eq!(value(&[SiteData::Cookies], &[kept]), None, "{kept}");
        }
        assert_eq!(value(&[], &[]), None);
    }
}
