//! The dates of `Expires`, read as leniently as browsers do (RFC 6265bis, section 5.1.1).

use crate::clock::Timestamp;
use cookie::time::{Date, Month, Time};

const MONTHS: [&[u8; 3]; 12] =
    [b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"];

/// The moment that a date names; `None` when it names none. What lies before 1970 is 1970: both are past.
pub(super) fn parse(text: &[u8]) -> Option<Timestamp> {
    let (mut time, mut day, mut month, mut year) = (None, None, None, None);
    for token in text.split(|byte| is_delimiter(*byte)).filter(|token| !token.is_empty()) {
        if time.is_none()
            && let Some(found) = time_of(token)
        {
            time = Some(found);
        } else if day.is_none()
            && let Some(found) = number(token, 1, 2)
        {
            day = Some(found);
        } else if month.is_none()
            && let Some(found) = month_of(token)
        {
            month = Some(found);
        } else if year.is_none()
            && let Some(found) = number(token, 2, 4)
        {
            year = Some(found);
        }
    }
    let year = match year? {
        year @ 70..=99 => year + 1900,
        year @ 0..=69 => year + 2000,
        year => year,
    };
    if year < 1601 {
        return None;
    }
    let (hour, minute, second) = time?;
    let time = Time::from_hms(hour, minute, second).ok()?;
    let month = Month::try_from(month?).ok()?;
    let date = Date::from_calendar_date(i32::from(year), month, u8::try_from(day?).ok()?).ok()?;
    let seconds = u64::try_from(date.with_time(time).assume_utc().unix_timestamp()).unwrap_or(0);
    Some(Timestamp::from_millis(seconds.saturating_mul(1000)))
}

const fn is_delimiter(byte: u8) -> bool {
    matches!(byte, 0x09 | 0x20..=0x2f | 0x3b..=0x40 | 0x5b..=0x60 | 0x7b..=0x7e)
}

/// The digits at the beginning of a token, when there are so many of them; anything else may follow.
fn number(token: &[u8], least: usize, most: usize) -> Option<u16> {
    let digits = token.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let text = std::str::from_utf8(&token[..digits]).ok()?;
    (least..=most).contains(&digits).then(|| text.parse().ok()).flatten()
}

fn time_of(token: &[u8]) -> Option<(u8, u8, u8)> {
    let mut parts = token.splitn(3, |byte| *byte == b':');
    let whole = |part: &[u8]| part.iter().all(u8::is_ascii_digit).then(|| number(part, 1, 2)).flatten();
    let (hour, minute) = (whole(parts.next()?)?, whole(parts.next()?)?);
    let second = number(parts.next()?, 1, 2)?;
    Some((u8::try_from(hour).ok()?, u8::try_from(minute).ok()?, u8::try_from(second).ok()?))
}

fn month_of(token: &[u8]) -> Option<u8> {
    let start = token.first_chunk::<3>()?.to_ascii_lowercase();
    let index = MONTHS.iter().position(|month| start == **month)?;
    u8::try_from(index + 1).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_in_every_form_that_browsers_know() {
        let moment = Some(Timestamp::from_millis(784_111_777_000));
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "6 november 1994 8:49:37",
            "08:49:37 1994 06nd Novx",
        ] {
            assert_eq!(parse(text.as_bytes()), moment, "{text}");
        }
        assert_eq!(parse(b"Thu, 01 Jan 1970 00:00:00 GMT"), Some(Timestamp::default()));
        assert_eq!(parse(b"Mon, 01 Jan 1601 00:00:00 GMT"), Some(Timestamp::default()));
        assert_eq!(parse(b"1 Jan 69 00:00:00"), parse(b"1 Jan 2069 00:00:00"));
    }

    #[test]
    fn what_names_no_moment_is_no_date() {
        for text in [
            "",
            "0",
            "-1",
            "tomorrow",
            "06 Nov 1994",
            "08:49:37 Nov 1994",
            "31 Feb 2030 00:00:00",
            "06 Nov 1994 24:00:00",
            "06 Nov 1994 08:60:00",
            "06 Nov 1600 08:00:00",
            "06 Nov 19944 08:00:00",
            "0 Nov 1994 08:00:00",
            "06 Nov 1994 08:49",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
