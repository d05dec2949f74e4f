//! Times as playlists and manifests write them.

use time::OffsetDateTime;

/// ISO 8601 in UTC with milliseconds: `2026-11-28T01:02:03.004Z`. Milliseconds since 1970, up to the year 9999.
pub(super) fn date_time(ms: u64) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000);
    let time = time.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (year, month, day) = (time.year(), u8::from(time.month()), time.day());
    let (hour, minute, second, ms) = (time.hour(), time.minute(), time.second(), time.millisecond());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// Seconds with milliseconds.
pub(super) fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1_000, ms % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_with_milliseconds() {
        assert_eq!(date_time(1_795_215_762_009), "2026-11-20T23:02:42.009Z");
        assert_eq!(date_time(253_402_300_799_999), "9999-12-31T23:59:59.999Z");
        assert_eq!(seconds(20_004), "20.004");
    }
}
