//! A moment of the calendar and the clock, as `2026-11-20T00:00:00Z`.

use super::unit::Fault;
use crate::clock::Timestamp;
use cookie::time::{Date, Month, OffsetDateTime, Time, UtcOffset};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Deserialize, Deserializer, Error};
use std::borrow::Cow;
use std::fmt;
use toml::value::{Datetime, Offset};

const REMEDY: &str = "write a date, a time and a zone without quotes, such as `2026-11-20T00:00:00Z`";

/// A moment, and how it is written.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The moment.
    pub timestamp: Timestamp,
    written: Datetime,
}

impl Moment {
    /// What TOML calls an offset date-time.
    ///
    /// # Errors
    /// [`Fault`] for a part of one: without a zone it would depend on where this machine stands.
    pub fn new(written: Datetime) -> Result<Self, Fault> {
        let (Some(date), Some(time), Some(offset)) = (written.date, written.time, written.offset) else {
            return Err(Fault::new(format!("`{written}` is not a moment"), REMEDY));
        };
        let minutes = match offset {
            Offset::Z => 0,
            Offset::Custom { minutes } => minutes,
        };
        // The reader of TOML lets through no date that does not exist; a leap second is the one after it.
        let millis = || {
            let month = Month::try_from(date.month).ok()?;
            let date = Date::from_calendar_date(date.year.into(), month, date.day).ok()?;
            let time = Time::from_hms(time.hour, time.minute, time.second.unwrap_or(0).min(59)).ok()?;
            let offset = UtcOffset::from_whole_seconds(i32::from(minutes) * 60).ok()?;
            let seconds = OffsetDateTime::new_in_offset(date, time, offset).unix_timestamp();
            u64::try_from(seconds).ok()?.checked_mul(1000)
        };
        let fault = || Fault::new(format!("`{written}` is before 1970, or never was"), REMEDY);
        millis().map(|millis| Self { timestamp: Timestamp::from_millis(millis), written }).ok_or_else(fault)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.written.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Datetime::deserialize(deserializer);
        let written = written.map_err(|_| D::Error::custom(Fault::new("it is not a moment", REMEDY)))?;
        Self::new(written).map_err(D::Error::custom)
    }
}

impl JsonSchema for Moment {
    fn schema_name() -> Cow<'static, str> {
        "Moment".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(text: &str) -> Result<u64, Fault> {
        Moment::new(text.parse().expect(text)).map(|moment| moment.timestamp.as_millis())
    }

    #[test]
    fn a_moment_is_the_same_in_every_zone() {
        for text in ["2026-06-01T12:00:00Z", "2026-06-01T14:00:00+02:00", "2026-06-01 06:30:00.999-05:30"] {
            assert_eq!(moment(text), Ok(1_780_315_200_000), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_everywhere_is_refused() {
        for text in ["2026-06-01T12:00:00", "2026-06-01", "12:00:00", "1969-12-31T23:59:59Z"] {
            assert_eq!(moment(text).unwrap_err().remedy, REMEDY, "{text}");
        }
    }
}
