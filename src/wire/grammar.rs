//! Pairs, keys and values: parsed and printed side by side.
//!
//! ```text
//! pairs = item *( sep item )       sep = "&" / "," [SP]
//! item  = key "=" value
//! value = *( %x21-7E except "%" "&" "," "=" "+" / "%" 2HEXDIG / "+" )      ; "+" reads as a space
//! ```
//!
//! Stricter than URL decoders usually are, and wide enough for what stock URL encoders write.

use super::Charset;
use crate::session::{Name, Refusal, Refused};
use std::borrow::Cow;

/// The items of a list, as they stand on the wire; an empty value is an empty list.
pub fn items(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = (!bytes.is_empty()).then_some(bytes);
    std::iter::from_fn(move || {
        let list = rest?;
        let Some(end) = list.iter().position(|byte| matches!(byte, b'&' | b',')) else { return rest.take() };
        let after = &list[end + 1..];
        rest = Some(if list[end] == b',' { after.strip_prefix(b" ").unwrap_or(after) } else { after });
        Some(&list[..end])
    })
}

/// Cuts an item at its first `=`.
///
/// # Errors
/// [`Refusal::Key`] for an item without one.
pub fn cut<'a>(verb: &str, item: &'a [u8]) -> Result<(&'a [u8], &'a [u8]), Refused> {
    let equals = item.iter().position(|byte| *byte == b'=');
    let equals = equals.ok_or_else(|| Refused::new(Refusal::Key, format!("{verb}: an item has no `=`")))?;
    Ok((&item[..equals], &item[equals + 1..]))
}

/// Reads a key.
///
/// # Errors
/// [`Refusal::Key`] when it breaks the grammar.
pub fn key(verb: &str, bytes: &[u8]) -> Result<Name, Refused> {
    let name = std::str::from_utf8(bytes).ok().and_then(Name::parse);
    name.ok_or_else(|| {
        // Not the bytes themselves: where a comma stands bare in a value they are a part of the value (LG1).
        let rule = "a letter or digit, then at most 63 letters, digits, `_` or `-`";
        Refused::new(Refusal::Key, format!("{verb}: an item begins with {} bytes that are no key: {rule}", bytes.len()))
    })
}

/// Reads a value: percent-escapes undone, `+` as a space, the bytes as text in `charset`.
///
/// # Errors
/// [`Refusal::Escape`] for a broken escape or a raw byte that must be escaped, [`Refusal::Charset`] for bytes that are no
/// text.
pub fn value(verb: &str, bytes: &[u8], charset: Charset) -> Result<String, Refused> {
    let escape = |what: &str| Refused::new(Refusal::Escape, format!("{verb}: {what}"));
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = after.split_first_chunk::<2>();
                let (digits, after) = digits.ok_or_else(|| escape("a percent-escape is cut off"))?;
                let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                let (Some(high), Some(low)) = (digit(digits[0]), digit(digits[1])) else {
                    return Err(escape("a `%` is not followed by two hexadecimal digits"));
                };
                rest = after;
                high << 4 | low
            }
            b'=' => return Err(escape("a `=` stands bare in a value, write it as %3D")),
            0x21..=0x7e => byte,
            _ => return Err(escape("a byte stands bare that must be percent-encoded")),
        });
    }
    text(verb, decoded, charset)
}

/// Bytes as text in `charset`.
///
/// # Errors
/// [`Refusal::Charset`] for bytes that are no text.
pub fn text(verb: &str, bytes: Vec<u8>, charset: Charset) -> Result<String, Refused> {
    let wrong = || Refused::new(Refusal::Charset, format!("{verb}: a value is not {}", charset.name()));
    if charset.0 == encoding_rs::UTF_8 {
        return String::from_utf8(bytes).map_err(|_| wrong());
    }
    let decoded = charset.0.decode_without_bom_handling_and_without_replacement(&bytes);
    decoded.map(Cow::into_owned).ok_or_else(wrong)
}

/// Reads pairs; a key may come more than once.
///
/// # Errors
/// The refusal of the first item that breaks the grammar.
pub fn pairs(verb: &str, bytes: &[u8], charset: Charset) -> Result<Vec<(Name, String)>, Refused> {
    items(bytes)
        .map(|item| {
            let (name, text) = cut(verb, item)?;
            Ok((key(verb, name)?, value(verb, text, charset)?))
        })
        .collect()
}

/// What may stand bare in a value that we print: the unreserved characters of RFC 3986, which every decoder leaves alone.
const BARE: [bool; 256] = {
    let mut bare = [false; 256];
    let mut byte = 0u8;
    while byte < 128 {
        bare[byte as usize] = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        byte += 1;
    }
    bare
};

/// Writes `text` in `charset`, percent-encoded; a space is `%20`.
///
/// Answers `false`, and has written nothing, when the charset has no letters for it.
#[must_use]
pub fn print(out: &mut Vec<u8>, text: &str, charset: Charset) -> bool {
    if charset.0 == encoding_rs::UTF_8 {
        print_bytes(out, text.as_bytes());
        return true;
    }
    let (bytes, _, unmappable) = charset.0.encode(text);
    if !unmappable {
        print_bytes(out, &bytes);
    }
    !unmappable
}

fn print_bytes(out: &mut Vec<u8>, mut bytes: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    loop {
        let bare = bytes.iter().position(|byte| !BARE[usize::from(*byte)]).unwrap_or(bytes.len());
        out.extend_from_slice(&bytes[..bare]);
        let Some((&byte, rest)) = bytes[bare..].split_first() else { return };
        out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        bytes = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Vec<(String, String)>, Refusal> {
        read_in(text.as_bytes(), Charset::default())
    }

    fn read_in(bytes: &[u8], charset: Charset) -> Result<Vec<(String, String)>, Refusal> {
        let pairs = pairs("Set", bytes, charset).map_err(|refused| refused.reason)?;
        Ok(pairs.into_iter().map(|(name, text)| (name.to_string(), text)).collect())
    }

    fn pair(key: &str, text: &str) -> (String, String) {
        (key.into(), text.into())
    }

    #[test]
    fn pairs_are_separated_by_ampersand_or_comma() {
        let both = Ok(vec![pair("a", "1"), pair("b", "2")]);
        for text in ["a=1&b=2", "a=1,b=2", "a=1, b=2"] {
            assert_eq!(read(text), both, "{text}");
        }
        assert_eq!(read(""), Ok(vec![]));
        assert_eq!(read("a="), Ok(vec![pair("a", "")]));
    }

    #[test]
    fn malformed_items_have_one_clear_reason() {
        for (text, reason) in [
            ("cart", Refusal::Key),
            ("=1", Refusal::Key),
            ("a=1&", Refusal::Key),
            ("a=1&&b=2", Refusal::Key),
            ("a=1,  b=2", Refusal::Key),
            ("a.b=1", Refusal::Key),
            ("a%5B=1", Refusal::Key),
            ("a=%", Refusal::Escape),
            ("a=%4", Refusal::Escape),
            ("a=%zz", Refusal::Escape),
            ("a=b=c", Refusal::Escape),
            ("a=b c", Refusal::Escape),
            ("a=\u{e9}", Refusal::Escape),
            ("a=\x01", Refusal::Escape),
            ("a=\x7f", Refusal::Escape),
            ("a=%ff", Refusal::Charset),
        ] {
            assert_eq!(read(text), Err(reason), "{text:?}");
        }
    }

    /// What the stock encoders of ten languages make of `café € 100%/&=+,` all reads as the same text.
    #[test]
    fn stock_encoders_are_understood() {
        let expected = Ok(vec![pair("v", "café € 100%/&=+,")]);
        for (encoder, text) in [
            ("PHP rawurlencode", "v=caf%C3%A9%20%E2%82%AC%20100%25%2F%26%3D%2B%2C"),
            ("PHP urlencode", "v=caf%C3%A9+%E2%82%AC+100%25%2F%26%3D%2B%2C"),
            ("Perl URI::Escape", "v=caf%C3%A9%20%E2%82%AC%20100%25%2F%26%3D%2B%2C"),
            ("Python quote", "v=caf%C3%A9%20%E2%82%AC%20100%25/%26%3D%2B%2C"),
            ("Python quote_plus", "v=caf%C3%A9+%E2%82%AC+100%25%2F%26%3D%2B%2C"),
            ("Node encodeURIComponent", "v=caf%C3%A9%20%E2%82%AC%20100%25%2F%26%3D%2B%2C"),
            ("Node URLSearchParams", "v=caf%C3%A9+%E2%82%AC+100%25%2F%26%3D%2B%2C"),
            ("Ruby encode_www_form_component", "v=caf%C3%A9+%E2%82%AC+100%25%2F%26%3D%2B%2C"),
            ("Java URLEncoder", "v=caf%C3%A9+%E2%82%AC+100%25%2F%26%3D%2B%2C"),
            ("shell printf %%%02x", "v=%63%61%66%c3%a9%20%e2%82%ac%20%31%30%30%25%2f%26%3d%2b%2c"),
        ] {
            assert_eq!(read(text), expected, "{encoder}");
        }
    }

    #[test]
    fn text_is_in_the_charset_of_the_route() {
        let windows = Charset::parse("windows-1252").unwrap();
        assert_eq!(read_in(b"v=caf%E9%20%80", windows), Ok(vec![pair("v", "café €")]));
        let mut out = Vec::new();
        assert!(print(&mut out, "café €", windows));
        assert_eq!(out, b"caf%E9%20%80");
        assert!(!print(&mut out, "日本", windows), "no letters for it");
        let japanese = Charset::parse("shift_jis").unwrap();
        assert_eq!(read_in(b"v=%93%FA%96%7B", japanese), Ok(vec![pair("v", "日本")]));
        assert_eq!(read_in(b"v=%93", japanese), Err(Refusal::Charset));
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(text in "\\PC{0,60}|[\\x00-\\x1f]{0,9}") {
            let mut out = b"k=".to_vec();
            prop_assert!(print(&mut out, &text, Charset::default()));
            prop_assert!(out.iter().all(|byte| (0x21..0x7f).contains(byte))); // HI4
            prop_assert_eq!(read_in(&out, Charset::default()), Ok(vec![pair("k", &text)]));
        }

        #[test]
        fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            drop(read_in(&bytes, Charset::default()));
            drop(read_in(&bytes, Charset::parse("shift_jis").unwrap()));
        }
    }
}
