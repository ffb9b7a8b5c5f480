//! A field of a URL-encoded form, looked for while the form comes in pieces.

use smallvec::SmallVec;

/// The longest field that is looked at, as encoded; the name and the value looked for are shorter however encoded.
const MAX_FIELD: usize = 256;

/// The search for the values of one field. It holds one field at a time and no more of the form.
#[derive(Debug)]
pub struct Search {
    name: &'static [u8],
    /// The field that is being read, as encoded; one byte more than [`MAX_FIELD`] stands for any longer field.
    field: SmallVec<[u8; 64]>,
}

impl Search {
    /// A search for the field of this name.
    #[must_use]
    pub fn new(name: &'static [u8]) -> Self {
        Self { name, field: SmallVec::new() }
    }

    /// Reads the next piece; whether it completes a field of the name whose value is `wanted`.
    pub fn feed(&mut self, piece: &[u8], wanted: &impl Fn(&[u8]) -> bool) -> bool {
        let mut fields = piece.split(|byte| *byte == b'&');
        // There is one item at least: the rest of the field that is being read.
        self.extend(fields.next().unwrap_or_default());
        fields.any(|next| {
            let found = self.end(wanted);
            self.extend(next);
            found
        })
    }

    /// The field that is being read has ended, as at the end of the form; whether it is what was looked for.
    pub fn end(&mut self, wanted: &impl Fn(&[u8]) -> bool) -> bool {
        let field = std::mem::take(&mut self.field);
        let Some(equals) = field.iter().position(|byte| *byte == b'=').filter(|_| field.len() <= MAX_FIELD) else {
            return false;
        };
        decoded(&field[..equals]).as_slice() == self.name && wanted(&decoded(&field[equals + 1..]))
    }

    fn extend(&mut self, piece: &[u8]) {
        let room = (MAX_FIELD + 1).saturating_sub(self.field.len());
        self.field.extend_from_slice(&piece[..piece.len().min(room)]);
    }
}

/// Escapes undone, broken ones left as they are, as every reader of forms does.
fn decoded(text: &[u8]) -> SmallVec<[u8; 64]> {
    percent_encoding::percent_decode(text).map(|byte| if byte == b'+' { b' ' } else { byte }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the form has the field `t` of value `abc`, when it comes in pieces of this size.
    fn has(form: &str, size: usize) -> bool {
        let mut search = Search::new(b"t");
        let wanted = |value: &[u8]| value == b"abc";
        form.as_bytes().chunks(size).any(|piece| search.feed(piece, &wanted)) || search.end(&wanted)
    }

    #[test]
    fn a_field_is_found_wherever_the_form_is_cut() {
        let long = "x".repeat(1000);
        let with_long = format!("a={long}&t=abc&b={long}");
        for form in ["t=abc", "a=1&t=abc", "t=abc&a=1", "t=no&t=abc", "%74=%61b%63", "a&&=&t=abc&", &with_long] {
            for size in 1..=form.len() {
                assert!(has(form, size), "{form} in pieces of {size}");
            }
        }
    }

    #[test]
    fn another_field_is_not_taken_for_it() {
        let long = format!("t=abc{}", "%00".repeat(100));
        for form in ["", "t", "t=", "t=abcd", "t=ab", "tt=abc", "at=abc", "a=t=abc", "t==abc", "t=abc=", "T=abc", &long]
        {
            for size in 1..=form.len().max(1) {
                assert!(!has(form, size), "{form} in pieces of {size}");
            }
        }
    }

    #[test]
    fn a_search_holds_no_more_than_one_short_field() {
        let mut search = Search::new(b"t");
        for _ in 0..1000 {
            assert!(!search.feed(&[b'x'; 1000], &|_| true));
        }
        assert!(search.field.len() <= MAX_FIELD + 1);
    }
}
