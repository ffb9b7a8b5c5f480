//! Places of walks that go in the order of the keys: the last key that was seen, in hexadecimal.

use super::{Cursor, StoreError};
use crate::session::StoreKey;

/// The place behind `key`.
pub(super) fn behind(key: &StoreKey) -> Cursor {
    Cursor(key.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The key that a place is behind; the text comes from an operator, or from a file.
pub(super) fn key_of(cursor: &Cursor, store: &'static str) -> Result<StoreKey, StoreError> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pair = |pair: &[u8]| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?);
    let bytes: Option<Vec<u8>> = cursor.0.as_bytes().chunks(2).map(pair).collect();
    let key = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    key.map(StoreKey::from_bytes).ok_or_else(|| StoreError::Unavailable {
        store,
        source: "this is no place in the store: expected 64 hexadecimal digits, as a copy tells them".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_comes_back_as_it_went_and_nothing_else_is_one() {
        let key = StoreKey::from_bytes(std::array::from_fn(|n| u8::try_from(n * 8).unwrap_or(255)));
        let place = behind(&key);
        assert!(place.0.starts_with("0008101820"));
        assert_eq!(key_of(&place, "test").unwrap(), key);
        let (short, long) = (&place.0[1..], format!("{}00", place.0));
        for text in ["", short, &long, "g", &"é".repeat(32), &" 1".repeat(32), &"+1".repeat(32)] {
            assert!(key_of(&Cursor(text.to_owned()), "test").is_err(), "{text:?}");
        }
    }
}
