//! `[[keys]]`: 32 random bytes each, which nobody else can read (LG7).

use super::super::file::{File, Key};
use super::super::given::{At, Given, Section};
use super::super::interpolate::Origin;
use super::super::problem::Problem;
use super::super::unit::Fault;
use super::super::{Date, KeyOptions, StoreOptions};
use super::Resolver;
use crate::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use zeroize::Zeroizing;

/// Bytes of a key.
const KEY_LEN: usize = 32;

/// The fewest different bytes of a random key: one in 10^15 has as few as this.
const MIN_DISTINCT: usize = 20;

const REMEDY: &str = "`cloakroom keygen` makes one";

pub(super) fn keys(file: &[At<Section<Key>>], to: &mut Resolver<'_>) -> Vec<KeyOptions> {
    let mut keys: Vec<(KeyOptions, &At<Section<Key>>)> = Vec::new();
    for (index, written) in file.iter().enumerate() {
        let Some(key) = key(index, written, to) else { continue };
        let place = written.value.id.span_or(&written.span);
        if let Some((_, other)) = keys.iter().find(|(other, _)| other.id == key.id) {
            let problem = Problem::error("key::duplicate", format!("two keys have the id `{}`", key.id)).at(place);
            to.report(
                problem
                    .also(other.value.id.span_or(&other.span), "taken here")
                    .help("give each key an id of its own, such as the month it was made in"),
            );
            continue;
        }
        if let Some((other, first)) = keys.iter().find(|(other, _)| other.secret == key.secret) {
            let problem =
                Problem::error("key::duplicate", format!("keys `{}` and `{}` are the same", other.id, key.id));
            to.report(
                problem
                    .at(written.value.secret.span_or(&written.span))
                    .also(first.value.secret.span_or(&first.span), "the same key")
                    .help(REMEDY),
            );
            continue;
        }
        retirement(index, &key, written, to);
        keys.push((key, written));
    }
    keys.into_iter().map(|(key, _)| key).collect()
}

fn key(index: usize, written: &At<Section<Key>>, to: &mut Resolver<'_>) -> Option<KeyOptions> {
    let id = id(written, to);
    let Some(text) = written.value.secret.at() else {
        to.missing(&["keys"], || {
            Problem::error("config::missing", format!("key {} has no secret", index + 1))
                .at(written.span.clone())
                .help(REMEDY)
        });
        return None;
    };
    let secret = match decode(&text.value) {
        Ok(secret) => Some(secret),
        Err(fault) => {
            to.report(Problem::error("key::secret", fault.message).at(text.span.clone()).help(fault.remedy));
            None
        }
    };
    readable(text, to);
    let retire_after =
        written.value.retire_after.get().map(|day| Date { year: day.0.year, month: day.0.month, day: day.0.day });
    Some(KeyOptions { id: id?, secret: secret?, retire_after })
}

fn id(written: &At<Section<Key>>, to: &mut Resolver<'_>) -> Option<String> {
    let Some(id) = written.value.id.at() else {
        to.missing(&["keys"], || {
            Problem::error("config::missing", "a key has no `id`")
                .at(written.span.clone())
                .help("add one, such as `id = \"2026-11\"`")
        });
        return None;
    };
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if (1..=32).contains(&id.value.len()) && id.value.bytes().all(good) {
        return Some(id.value.clone());
    }
    let message = format!("`{}` is not the id of a key", id.value.escape_default());
    to.report(
        Problem::error("key::id", message).at(id.span.clone()).help("use at most 32 letters, digits, `-`, `_` and `.`"),
    );
    None
}

/// Without a key in the file the server makes one that no other server has: what it keeps in a shared store is its own.
pub(super) fn shared(file: &File, stores: &[StoreOptions], to: &mut Resolver<'_>) {
    let Some(store) = stores.iter().find(|store| store.kind.is_shared()).filter(|_| file.keys.is_empty()) else {
        return;
    };
    let place =
        file.stores.iter().find(|(name, _)| name.value == store.name).map_or(0..0, |(name, _)| name.span.clone());
    to.missing(&["keys"], || {
        let message =
            format!("only this server can read what it keeps in store `{}`: there is no key in this file", store.name);
        let help = "give every server that uses the store the same `[[keys]]`: `cloakroom keygen` prints one";
        Problem::warning("key::own", message).at(place).help(help)
    });
}

/// The key of proofs: both sides use its text as it stands, so that nobody has to agree on a notation.
pub(super) fn proof(given: &Given<String>, to: &mut Resolver<'_>) -> Option<Secret<String>> {
    let text = given.at()?;
    readable(text, to);
    if let Err(fault) = decode(&text.value) {
        to.report(Problem::error("key::proof", fault.message).at(text.span.clone()).help(fault.remedy));
        return None;
    }
    Some(Secret::new(text.value.trim().to_owned()))
}

/// A backend that has the key of the cookies can make sessions of its own.
pub(super) fn apart(file: &File, keys: &[KeyOptions], to: &mut Resolver<'_>) {
    for (_, session) in file.sessions.iter() {
        let Some(text) = session.headers.proof_key.at() else { continue };
        let Ok(secret) = decode(&text.value) else { continue };
        if let Some(key) = keys.iter().find(|key| key.secret == secret) {
            let message = format!("`proof_key` is key `{}`: a backend that has it could make sessions", key.id);
            let problem = Problem::error("key::proof", message).at(text.span.clone());
            to.report(problem.help("make another with `cloakroom keygen`, for the backend and nothing else"));
        }
    }
}

/// The bytes of a key. No message shows any of it.
fn decode(text: &str) -> Result<Secret<[u8; KEY_LEN]>, Fault> {
    let fault = |message: String| Err(Fault::new(message, REMEDY));
    let text = text.trim();
    let unpadded = text.trim_end_matches('=');
    let is_hex = text.len() == 2 * KEY_LEN && text.bytes().all(|b| b.is_ascii_hexdigit());
    let bytes = if is_hex {
        let digit = |b: &u8| char::from(*b).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).unwrap_or_default();
        Ok(text.as_bytes().chunks(2).map(|pair| digit(&pair[0]) << 4 | pair.get(1).map_or(0, digit)).collect())
    } else {
        STANDARD_NO_PAD.decode(unpadded).or_else(|_| URL_SAFE_NO_PAD.decode(unpadded))
    };
    let Ok(bytes) = bytes.map(Zeroizing::new) else {
        return fault("the key is neither base64 nor hexadecimal".into());
    };
    let Ok(key) = <[u8; KEY_LEN]>::try_from(bytes.as_slice()).map(Zeroizing::new) else {
        return fault(format!("the key has {} bytes: expected {KEY_LEN}", bytes.len()));
    };
    let distinct = key.iter().collect::<BTreeSet<_>>().len();
    let step = |pair: &[u8]| pair[1].wrapping_sub(pair[0]);
    let counts_up = key.windows(2).all(|pair| step(pair) == step(&key[..2]));
    let is_typed = key.iter().all(|b| (b' '..=b'~').contains(b));
    if distinct < MIN_DISTINCT || counts_up || is_typed {
        return fault("the key is not random: it is a sample, a phrase or a pattern".into());
    }
    Ok(Secret::new(*key))
}

/// A key in a file that everybody can read is no key; one in the configuration itself is a warning.
fn readable(text: &At<String>, to: &mut Resolver<'_>) {
    let origins: Vec<_> = to.insertions().origins(&text.span).cloned().collect();
    for origin in &origins {
        if let Origin::File(path) = origin
            && is_world_readable(path)
        {
            let problem = Problem::error("key::readable", "every user of this machine can read the file of this key");
            to.report(problem.at(text.span.clone()).help("take the permission away: `chmod o= FILE`"));
        }
    }
    if origins.is_empty() && to.path.is_some_and(is_world_readable) {
        let problem =
            Problem::warning("key::readable", "every user of this machine can read this file, and the key in it");
        to.report(problem.at(text.span.clone()).help(
            "take the permission away (`chmod o= FILE`), or write `${file:PATH}`, `${env:NAME}` or `${cred:NAME}`",
        ));
    }
}

pub(super) fn is_world_readable(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o004 != 0)
}

fn retirement(index: usize, key: &KeyOptions, written: &At<Section<Key>>, to: &mut Resolver<'_>) {
    let Some(last) = key.retire_after.filter(|last| *last < Date::of(to.around.now)) else { return };
    let help = match index {
        0 => "put a new key in front of it: `cloakroom keygen` prints one",
        _ => "remove it, unless there are still cookies that need it",
    };
    let problem = Problem::warning("key::retired", format!("key `{}` should have retired after {last}", key.id));
    to.report(problem.at(written.value.retire_after.span_or(&written.span)).help(help));
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = *b"\x9e\x12\x7f\x00\xc4\x5a\xe1\x33\x88\x0b\xd7\x61\xf2\x4d\xa9\x16\
        \x70\xbe\x05\x3c\x92\xe8\x57\xad\x21\xf9\x6b\x44\xd0\x1f\x83\xca";

    #[test]
    fn a_key_is_read_in_every_notation() {
        use base64::engine::general_purpose::{STANDARD, URL_SAFE};
        let hex = "9E127F00C45AE133880BD761F24DA91670BE053C92E857AD21F96B44D01F83CA".to_owned();
        for text in [
            STANDARD.encode(KEY),
            STANDARD_NO_PAD.encode(KEY),
            URL_SAFE.encode(KEY),
            URL_SAFE_NO_PAD.encode(KEY),
            hex,
            format!(" {}\n", STANDARD.encode(KEY)),
        ] {
            assert_eq!(decode(&text).unwrap().expose(), &KEY);
        }
    }

    #[test]
    fn a_key_that_is_short_or_not_random_is_refused_without_showing_it() {
        // LG7
        let encode = |bytes: &[u8]| STANDARD_NO_PAD.encode(bytes);
        let counting: Vec<u8> = (0..32).collect();
        for (text, message) in [
            (encode(&KEY[..31]), "31 bytes"),
            (encode(&[KEY, KEY].concat()), "64 bytes"),
            (encode(&[0; 32]), "not random"),
            (encode(&counting), "not random"),
            (encode(b"correct horse battery staple 123"), "not random"),
            (encode(&[&KEY[..8], &KEY[..8], &KEY[..8], &KEY[..8]].concat()), "not random"),
            ("change me!".into(), "neither base64 nor hexadecimal"),
            (String::new(), "0 bytes"),
        ] {
            let fault = decode(&text).unwrap_err();
            assert!(fault.message.contains(message), "{text}: {fault}");
            assert!(text.is_empty() || !fault.message.contains(&text));
        }
    }
}
