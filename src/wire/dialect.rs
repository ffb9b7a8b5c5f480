//! Other notations than pairs: JSON, and the names of Apache's `mod_session`.

use crate::session::{Refusal, Refused};
use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

/// The request header that a CGI reads as `HTTP_SESSION`, the variable of `SessionEnv On`.
pub const MOD_SESSION_REQUEST: &str = "Session";
/// The response header that Apache's documentation uses with `SessionHeader`.
pub const MOD_SESSION_REPLACE: &str = "X-Replace-Session";

/// base64url with or without padding, as different libraries write it.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Reads JSON objects: bare, or as base64url or base64 where a language cannot keep JSON in ASCII.
///
/// Several objects may stand side by side with commas between, as servers join repeated headers.
///
/// # Errors
/// [`Refusal::Escape`] for what is no JSON, [`Refusal::Type`] for JSON that is no object.
pub fn objects(verb: &str, bytes: &[u8]) -> Result<Vec<Map<String, Value>>, Refused> {
    let bytes = bytes.trim_ascii();
    if bytes.first() == Some(&b'{') {
        if !bytes.iter().all(|byte| matches!(byte, 0x20..=0x7e | b'\t')) {
            let what = "JSON beyond ASCII must be written with \\u escapes or as base64url";
            return Err(Refused::new(Refusal::Escape, format!("{verb}: {what}")));
        }
        return bare(verb, bytes);
    }
    let mut objects = Vec::new();
    for piece in bytes.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
        let decoded = LENIENT.decode(piece).or_else(|_| STANDARD.decode(piece));
        let decoded = decoded.map_err(|_| {
            Refused::new(Refusal::Escape, format!("{verb}: expected a JSON object, bare or as base64url"))
        })?;
        objects.extend(bare(verb, &decoded)?);
    }
    Ok(objects)
}

fn bare(verb: &str, mut bytes: &[u8]) -> Result<Vec<Map<String, Value>>, Refused> {
    let mut objects = Vec::new();
    loop {
        let mut stream = serde_json::Deserializer::from_slice(bytes).into_iter::<Value>();
        match stream.next() {
            Some(Ok(Value::Object(object))) => objects.push(object),
            Some(Ok(_)) => return Err(Refused::new(Refusal::Type, format!("{verb}: the JSON is not an object"))),
            _ => return Err(Refused::new(Refusal::Escape, format!("{verb}: this is not JSON"))),
        }
        bytes = bytes[stream.byte_offset()..].trim_ascii();
        match bytes.split_first() {
            None => return Ok(objects),
            Some((b',', rest)) => bytes = rest,
            Some(_) => return Err(Refused::new(Refusal::Escape, format!("{verb}: something follows the JSON"))),
        }
    }
}

/// Writes an object as base64url JSON, without padding.
#[must_use]
pub fn print(object: &Map<String, Value>) -> String {
    let json = serde_json::to_vec(object).unwrap_or_default();
    URL_SAFE_NO_PAD.encode(json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(text: &str) -> Result<Vec<Value>, Refusal> {
        let objects = objects("Set", text.as_bytes()).map_err(|refused| refused.reason)?;
        Ok(objects.into_iter().map(Value::Object).collect())
    }

    #[test]
    fn json_is_read_bare_or_in_base64() {
        let expected = Ok(vec![json!({"a": "é", "b": null})]);
        assert_eq!(read(r#"{"a":"\u00e9","b":null}"#), expected);
        let packed = URL_SAFE_NO_PAD.encode(r#"{"a":"é","b":null}"#);
        assert_eq!(read(&packed), expected);
        assert_eq!(read(&STANDARD.encode(r#"{"a":"é","b":null}"#)), expected);
        assert_eq!(read(r#"{"a":1}, {"b":2}"#), Ok(vec![json!({"a": 1}), json!({"b": 2})]));
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for (text, reason) in [
            (r#"{"a":1"#, Refusal::Escape),
            (r#"{"a":1} x"#, Refusal::Escape),
            ("{\"a\":\"\u{e9}\"}", Refusal::Escape),
            ("a=1", Refusal::Escape),
            (&URL_SAFE_NO_PAD.encode("[1]"), Refusal::Type),
        ] {
            assert_eq!(read(text), Err(reason), "{text}");
        }
    }

    #[test]
    fn what_is_printed_reads_back() {
        let Value::Object(object) = json!({"user": "ada", "cart": [1, "2"], "n": 3}) else { unreachable!() };
        assert_eq!(read(&print(&object)), Ok(vec![Value::Object(object)]));
    }
}
