//! The status that `stream-error` carries: that of AWS's producer SDK for C.

/// Statuses of the SDK's client begin here.
const BASE: u32 = 0x5200_0000;
const PUT_STREAM_FAILED: u32 = BASE + 0x2d;

/// The SDK's status for an `ErrorId` of the service, an HTTP status of PutMedia, or a status itself.
pub(super) fn of(code: u32) -> u32 {
    let offset = match code {
        BASE.. => return code,
        // From 0x5c in the order of the service's ids, with what came later behind.
        4000..=4008 => 0x5c + (code - 4000),
        4009 => 0x75,
        4010..=4012 => 0x7c + (code - 4010),
        4500..=4507 => 0x65 + (code - 4500),
        5000 | 5001 => 0x6d + (code - 5000),
        4013..=5999 => 0x6f,
        _ => return PUT_STREAM_FAILED,
    };
    BASE + offset
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_sdk_s_numbers() {
        for (code, status) in [
            (4000, 0x5200_005c),
            (4006, 0x5200_0062),
            (4008, 0x5200_0064),
            (4009, 0x5200_0075),
            (4012, 0x5200_007e),
            (4500, 0x5200_0065),
            (4507, 0x5200_006c),
            (5001, 0x5200_006e),
            (4999, 0x5200_006f),
            (404, 0x5200_002d),
            (0x5200_0011, 0x5200_0011),
        ] {
            assert_eq!(super::of(code), status, "{code}");
        }
    }
}
