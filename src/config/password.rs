//! Where a password may stand in what people write: nobody is shown it.

use std::ops::Range;

/// The part of a URL that may be a password: between the first colon and the last `@` behind the scheme, and what
/// `password=` says. Rather too much than too little: what is no URL yet may become one by a correction.
pub fn places(url: &str) -> Vec<Range<usize>> {
    let start = url.find("://").map_or(0, |scheme| scheme + "://".len());
    let login = url[start..].rfind('@').map(|length| start..start + length);
    let password = login.map(|login| match url[login.clone()].find(':') {
        Some(colon) => login.start + colon + 1..login.end,
        None => login,
    });
    let settings = url.match_indices("password=").map(|(at, word)| {
        let start = at + word.len();
        start..url[start..].find(['&', '"', '\'']).map_or(url.len(), |length| start + length)
    });
    password.into_iter().chain(settings).filter(|place| !place.is_empty()).collect()
}

/// Every place of a whole file, line by line: also on lines that are no TOML, and in comments.
pub fn places_in_lines(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut line_start = 0;
    for line in text.split_inclusive('\n') {
        // One URL ends before the scheme of the next one.
        let starts: Vec<usize> = line.match_indices("://").map(|(at, _)| at).collect();
        for (index, start) in starts.iter().enumerate() {
            let end = starts.get(index + 1).copied().unwrap_or(line.len());
            let offset = line_start + start;
            found.extend(places(&line[*start..end]).into_iter().map(|place| place.start + offset..place.end + offset));
        }
        line_start += line.len();
    }
    found
}

/// A URL without its password; one that is inserted from elsewhere is shown as it is written.
pub fn masked(url: &str, mask: &str) -> String {
    let mut shown = url.to_owned();
    for place in places(url).into_iter().rev() {
        let word = &url[place.clone()];
        let is_inserted = word.starts_with("${") && word.find('}') == Some(word.len() - 1);
        if !is_inserted {
            shown.replace_range(place, mask);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_masked_wherever_it_stands() {
        for (url, shown) in [
            ("redis://10.0.0.5:6379/0", "redis://10.0.0.5:6379/0"),
            ("redis://app:hunter2@10.0.0.5:6379", "redis://app:***@10.0.0.5:6379"),
            ("redis://:hunter2@10.0.0.5", "redis://:***@10.0.0.5"),
            ("redis://hunter2@10.0.0.5", "redis://***@10.0.0.5"),
            ("redis://app:hun/t@er:2@10.0.0.5", "redis://app:***@10.0.0.5"),
            ("app:hunter2@10.0.0.5", "app:***@10.0.0.5"),
            ("postgres://db/x?user=app&password=hunter2&x=y", "postgres://db/x?user=app&password=***&x=y"),
            ("rediss://app:${env:PASSWORD}@a", "rediss://app:${env:PASSWORD}@a"),
            ("rediss://app:x${env:PASSWORD}@a", "rediss://app:***@a"),
            ("${file:/run/secrets/url}", "${file:/run/secrets/url}"),
            ("${env:URL:-redis://:hunter2@a}", "${env:URL:-redis://:***@a}"),
        ] {
            assert_eq!(masked(url, "***"), shown);
        }
    }

    #[test]
    fn passwords_are_found_on_any_line() {
        let text = "a = \"http://b\"\nc = [\"redis://d:hunter2@e\", \"redis://:hunter2@f\"] # \u{e4}://hunter2@\n://";
        let found: Vec<&str> = places_in_lines(text).into_iter().map(|place| &text[place]).collect();
        assert_eq!(found, ["hunter2", "hunter2", "hunter2"]);
    }
}
