//! RTP payloads to NAL units (RFC 6184, packetization modes 0 and 1).

use bytes::{BufMut, Bytes, BytesMut};

use super::assemble::MAX_UNITS;
use super::nal;
use super::parameters::ParameterError;

/// A NAL unit in fragments longer than this is not believed.
const MAX_NAL: usize = 8 << 20;

/// Why a payload, or a NAL unit of it, was skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum H264Error {
    /// Not even the headers fit.
    #[error("payload of {0} bytes is too short")]
    TooShort(usize),
    /// `forbidden_zero_bit` is set: the sender or a middlebox says that the unit is damaged.
    #[error("forbidden_zero_bit is set")]
    Forbidden,
    /// A packet type that packetization mode 1 does not have, or a reserved one.
    #[error("packet type {0} is not one of packetization mode 1")]
    Type(u8),
    /// A STAP-A whose unit lengths do not add up.
    #[error("STAP-A unit of {unit} bytes with {available} left")]
    Aggregate {
        /// Length the unit claims.
        unit: usize,
        /// Bytes behind the length.
        available: usize,
    },
    /// An aggregation packet or fragmentation unit inside another.
    #[error("packet type {0} inside an aggregate or fragment")]
    Nested(u8),
    /// A continuation without its start.
    #[error("FU-A continuation without a start")]
    NoStart,
    /// A continuation of another NAL unit than the one that was started.
    #[error("FU-A continues type {got}, but type {started} was started")]
    Mixed {
        /// NAL unit type of the start.
        started: u8,
        /// NAL unit type of the continuation.
        got: u8,
    },
    /// A fragmented NAL unit was left without its end; its bytes are dropped.
    #[error("FU-A without its end, {0} bytes dropped")]
    NoEnd(usize),
    /// A fragmented NAL unit longer than 8 MiB.
    #[error("FU-A NAL unit of more than {MAX_NAL} bytes")]
    TooLong,
    /// A packet, or a fragmented NAL unit, that holds more NAL units than a picture has.
    #[error("more than {MAX_UNITS} NAL units in one packet or fragmented unit")]
    TooMany,
    /// An SPS or PPS that cannot be used.
    #[error(transparent)]
    Parameters(#[from] ParameterError),
}

struct Fragments {
    header: u8,
    timestamp: u32,
    data: BytesMut,
}

/// Takes payloads in order, gives NAL units without start codes.
pub struct H264Depacketizer {
    fragments: Option<Fragments>,
    out_of_step: bool,
}

impl Default for H264Depacketizer {
    fn default() -> Self {
        Self { fragments: None, out_of_step: true }
    }
}

impl H264Depacketizer {
    /// Forgets a NAL unit that was begun; to be called when a packet is missing.
    pub fn reset(&mut self) {
        self.fragments = None;
        self.out_of_step = true;
    }

    /// Since the beginning or the last missing packet no NAL unit has begun: what continues one is not malformed, its start
    /// is missing.
    pub fn is_out_of_step(&self) -> bool {
        self.out_of_step
    }

    /// True while a fragmented NAL unit waits for its end.
    pub fn is_inside(&self) -> bool {
        self.fragments.is_some()
    }

    /// Appends the NAL units that `payload` completes to `nals`. The next packet in order is expected; `timestamp` is
    /// the packet's. On an error nothing of this payload is used, except that a complete unit behind an unfinished
    /// fragment is ([`H264Error::NoEnd`]).
    pub fn push(&mut self, payload: &Bytes, timestamp: u32, nals: &mut Vec<Bytes>) -> Result<(), H264Error> {
        let result = self.take(payload, timestamp, nals);
        self.out_of_step &= result == Err(H264Error::NoStart);
        result
    }

    fn take(&mut self, payload: &Bytes, timestamp: u32, nals: &mut Vec<Bytes>) -> Result<(), H264Error> {
        let Some(&first) = payload.first() else { return Err(H264Error::TooShort(0)) };
        if payload.starts_with(&[0, 0, 1]) || payload.starts_with(&[0, 0, 0, 1]) {
            // Some cameras put whole byte streams into packets.
            let dangling = self.drop_fragments();
            let count = nals.len();
            split(payload, nals)?;
            if nals.len() == count {
                return Err(H264Error::TooShort(payload.len()));
            }
            return dangling;
        }
        if first & 0x80 != 0 {
            return Err(H264Error::Forbidden);
        }
        match first & 0x1f {
            1..=23 => {
                let dangling = self.drop_fragments();
                split(payload, nals)?;
                dangling
            }
            24 => {
                let dangling = self.drop_fragments();
                stap_a(payload, nals)?;
                dangling
            }
            28 => self.fu_a(payload, timestamp, nals),
            other => Err(H264Error::Type(other)),
        }
    }

    fn drop_fragments(&mut self) -> Result<(), H264Error> {
        match self.fragments.take() {
            Some(fragments) => Err(H264Error::NoEnd(fragments.data.len())),
            None => Ok(()),
        }
    }

    fn fu_a(&mut self, payload: &Bytes, timestamp: u32, nals: &mut Vec<Bytes>) -> Result<(), H264Error> {
        let [indicator, fu, rest @ ..] = &payload[..] else {
            self.fragments = None;
            return Err(H264Error::TooShort(payload.len()));
        };
        let (start, end) = (fu & 0x80 != 0, fu & 0x40 != 0);
        let header = indicator & 0x60 | fu & 0x1f;
        let got = fu & 0x1f;
        if !(1..=23).contains(&got) {
            self.fragments = None;
            return Err(H264Error::Nested(got));
        }
        let dangling = if start { self.drop_fragments() } else { Ok(()) };
        if start {
            // Rarely more than a few packets; grows when it is.
            let mut data = BytesMut::with_capacity(rest.len() * 4);
            data.put_u8(header);
            self.fragments = Some(Fragments { header, timestamp, data });
        }
        let Some(fragments) = &mut self.fragments else { return Err(H264Error::NoStart) };
        if fragments.header & 0x1f != got || fragments.timestamp != timestamp {
            let started = fragments.header & 0x1f;
            self.fragments = None;
            return Err(H264Error::Mixed { started, got });
        }
        if fragments.data.len() + rest.len() > MAX_NAL {
            self.fragments = None;
            return Err(H264Error::TooLong);
        }
        fragments.data.put_slice(rest);
        if end && let Some(fragments) = self.fragments.take() {
            split(&fragments.data.freeze(), nals)?;
        }
        dangling
    }
}

/// Section 5.7.1. All or nothing: lengths that do not add up make the whole packet doubtful.
fn stap_a(payload: &Bytes, nals: &mut Vec<Bytes>) -> Result<(), H264Error> {
    let before = nals.len();
    let result = (|| {
        let mut at = 1;
        if payload.len() < 4 {
            return Err(H264Error::TooShort(payload.len()));
        }
        while at < payload.len() {
            // Zeros behind the last unit are somebody's alignment.
            if nals.len() > before && payload[at..].iter().all(|byte| *byte == 0) {
                return Ok(());
            }
            let available = payload.len() - at;
            let unit = match payload.get(at..at + 2) {
                Some(length) => usize::from(u16::from_be_bytes([length[0], length[1]])),
                None => return Err(H264Error::Aggregate { unit: 0, available }),
            };
            at += 2;
            let Some(bytes) = payload.get(at..at + unit) else {
                return Err(H264Error::Aggregate { unit, available: available - 2 });
            };
            match bytes.first() {
                None => return Err(H264Error::Aggregate { unit, available: available - 2 }),
                Some(first) if first & 0x80 != 0 => return Err(H264Error::Forbidden),
                Some(first) if first & 0x1f >= 24 => return Err(H264Error::Nested(first & 0x1f)),
                Some(_) => split(&payload.slice(at..at + unit), nals)?,
            }
            at += unit;
        }
        Ok(())
    })();
    if result.is_err() {
        nals.truncate(before);
    }
    result
}

/// A NAL unit can contain no start code; where one stands, the sender put several units into one.
fn split(unit: &Bytes, nals: &mut Vec<Bytes>) -> Result<(), H264Error> {
    let before = nals.len();
    for range in nal::split(unit) {
        let header = unit[range.start];
        let wrong = if header & 0x80 != 0 {
            Some(H264Error::Forbidden)
        } else if !(1..=23).contains(&(header & 0x1f)) {
            Some(H264Error::Nested(header & 0x1f))
        } else {
            None
        };
        if let Some(wrong) = wrong {
            nals.truncate(before);
            return Err(wrong);
        }
        // While it is split: eight megabytes may hold two million units.
        if nals.len() >= MAX_UNITS {
            nals.truncate(before);
            return Err(H264Error::TooMany);
        }
        nals.push(unit.slice(range));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn push_all(payloads: &[&[u8]]) -> (Vec<Vec<u8>>, Vec<H264Error>) {
        let mut depacketizer = H264Depacketizer::default();
        let (mut nals, mut errors) = (Vec::new(), Vec::new());
        for payload in payloads {
            errors.extend(depacketizer.push(&Bytes::copy_from_slice(payload), 7, &mut nals).err());
        }
        (nals.iter().map(|nal| nal.to_vec()).collect(), errors)
    }

    #[test]
    fn single_nal_unit() {
        assert_eq!(push_all(&[&[0x65, 1, 2]]), (vec![vec![0x65, 1, 2]], vec![]));
    }

    #[test]
    fn units_without_end_are_not_even_split() {
        // An FU-A of eight megabytes of start codes, and a STAP-A of all that a datagram holds.
        let codes: Vec<u8> = [0, 0, 1, 0x41].repeat(15_000);
        let mut depacketizer = H264Depacketizer::default();
        let mut nals = Vec::new();
        for part in 0..130_u8 {
            let fu = if part == 0 {
                0x81
            } else if part == 129 {
                0x41
            } else {
                1
            };
            let payload = Bytes::from([&[0x5c, fu][..], &codes].concat());
            let result = depacketizer.push(&payload, 7, &mut nals);
            assert_eq!(result, if part == 129 { Err(H264Error::TooMany) } else { Ok(()) });
        }
        assert!(nals.is_empty() && nals.capacity() <= 2 * MAX_UNITS);
        let stap = Bytes::from([&[0x78][..], &[0, 1, 0x41].repeat(20_000)].concat());
        assert_eq!(depacketizer.push(&stap, 7, &mut nals), Err(H264Error::TooMany));
        assert!(nals.is_empty() && nals.capacity() <= 2 * MAX_UNITS);
    }

    #[test]
    fn stap_a_of_two() {
        let payload = [0x78, 0, 2, 0x67, 1, 0, 3, 0x68, 2, 3];
        assert_eq!(push_all(&[&payload]), (vec![vec![0x67, 1], vec![0x68, 2, 3]], vec![]));
    }

    #[test]
    fn stap_a_with_a_trailing_byte_that_panics_elsewhere() {
        let (nals, errors) = push_all(&[&[0x78, 0, 2, 0x67, 1, 9]]);
        assert_eq!((nals.len(), errors), (0, vec![H264Error::Aggregate { unit: 0, available: 1 }]));
        // A zero is alignment.
        assert_eq!(push_all(&[&[0x78, 0, 2, 0x67, 1, 0]]), (vec![vec![0x67, 1]], vec![]));
    }

    #[test]
    fn stap_a_that_does_not_add_up() {
        let cut = push_all(&[&[0x78, 0, 9, 0x67, 1]]);
        assert_eq!(cut, (vec![], vec![H264Error::Aggregate { unit: 9, available: 2 }]));
        let empty = push_all(&[&[0x78, 0, 0, 0, 1, 0x67]]);
        assert_eq!(empty, (vec![], vec![H264Error::Aggregate { unit: 0, available: 3 }]));
        assert_eq!(push_all(&[&[0x78, 0, 2, 0x78, 1]]), (vec![], vec![H264Error::Nested(24)]));
        assert_eq!(push_all(&[&[0x78, 0]]), (vec![], vec![H264Error::TooShort(2)]));
    }

    #[test]
    fn fu_a_is_put_together() {
        let (nals, errors) = push_all(&[&[0x7c, 0x85, 1, 2], &[0x7c, 0x05, 3], &[0x7c, 0x45, 4, 5]]);
        assert_eq!((nals, errors), (vec![vec![0x65, 1, 2, 3, 4, 5]], vec![]));
    }

    #[test]
    fn a_stale_fragment_leaks_nowhere() {
        // The end of the first is missing; a new start, a single unit, an aggregate follow.
        let (nals, errors) = push_all(&[&[0x7c, 0x85, 1, 2], &[0x7c, 0x81, 3], &[0x7c, 0x41, 4]]);
        assert_eq!((nals, errors), (vec![vec![0x61, 3, 4]], vec![H264Error::NoEnd(3)]));
        let (nals, errors) = push_all(&[&[0x7c, 0x85, 1, 2], &[0x61, 9], &[0x7c, 0x45, 4]]);
        assert_eq!((nals, errors), (vec![vec![0x61, 9]], vec![H264Error::NoEnd(3), H264Error::NoStart]));
        let (nals, errors) = push_all(&[&[0x7c, 0x85, 1, 2], &[0x78, 0, 1, 0x68], &[0x7c, 0x45, 4]]);
        assert_eq!((nals, errors), (vec![vec![0x68]], vec![H264Error::NoEnd(3), H264Error::NoStart]));
    }

    #[test]
    fn a_continuation_of_something_else_is_refused() {
        let (nals, errors) = push_all(&[&[0x7c, 0x85, 1, 2], &[0x7c, 0x41, 3]]);
        assert_eq!((nals, errors), (vec![], vec![H264Error::Mixed { started: 5, got: 1 }]));
        let mut depacketizer = H264Depacketizer::default();
        let mut nals = Vec::new();
        depacketizer.push(&Bytes::from_static(&[0x7c, 0x85, 1]), 7, &mut nals).unwrap();
        assert!(depacketizer.is_inside());
        let error = depacketizer.push(&Bytes::from_static(&[0x7c, 0x45, 1]), 8, &mut nals);
        assert_eq!((error, nals.len()), (Err(H264Error::Mixed { started: 5, got: 5 }), 0));
    }

    #[test]
    fn start_and_end_in_one_is_a_whole_unit() {
        assert_eq!(push_all(&[&[0x7c, 0xc5, 1, 2]]), (vec![vec![0x65, 1, 2]], vec![]));
    }

    #[test]
    fn annex_b_inside() {
        let whole = [0, 0, 0, 1, 0x67, 1, 0, 0, 1, 0x68, 2, 0, 0, 0, 1, 0x65, 3];
        let expected = vec![vec![0x67, 1], vec![0x68, 2], vec![0x65, 3]];
        assert_eq!(push_all(&[&whole]), (expected.clone(), vec![]));
        assert_eq!(push_all(&[&whole[4..]]), (expected, vec![]));
        let (nals, errors) = push_all(&[&[0x7c, 0x87, 1, 0, 0], &[0x7c, 0x47, 0, 1, 0x68, 2]]);
        assert_eq!((nals, errors), (vec![vec![0x67, 1], vec![0x68, 2]], vec![]));
    }

    #[test]
    fn what_mode_1_does_not_have() {
        for kind in [0, 25, 26, 27, 29, 30, 31] {
            assert_eq!(push_all(&[&[kind, 1, 2, 3]]), (vec![], vec![H264Error::Type(kind)]));
        }
        assert_eq!(push_all(&[&[0xe5, 1]]), (vec![], vec![H264Error::Forbidden]));
        assert_eq!(push_all(&[&[]]), (vec![], vec![H264Error::TooShort(0)]));
        assert_eq!(push_all(&[&[0x7c]]), (vec![], vec![H264Error::TooShort(1)]));
        assert_eq!(push_all(&[&[0x7c, 0x9c, 1]]), (vec![], vec![H264Error::Nested(28)]));
        assert_eq!(push_all(&[&[0, 0, 1]]), (vec![], vec![H264Error::TooShort(3)]));
    }

    #[test]
    fn an_endless_fragment_is_bounded() {
        let mut depacketizer = H264Depacketizer::default();
        let mut nals = Vec::new();
        let piece = |first: u8| Bytes::from([vec![0x7c, first], vec![1; 60_000]].concat());
        depacketizer.push(&piece(0x85), 7, &mut nals).unwrap();
        let error = (0..1000).find_map(|_| depacketizer.push(&piece(0x05), 7, &mut nals).err());
        assert_eq!(error, Some(H264Error::TooLong));
        assert!(!depacketizer.is_inside());
    }

    /// RFC 6184 sections 5.6 and 5.8, for the round trip.
    fn packetize(nal: &[u8], limit: usize) -> Vec<Bytes> {
        if nal.len() <= limit {
            return vec![Bytes::copy_from_slice(nal)];
        }
        let chunks: Vec<_> = nal[1..].chunks(limit - 2).collect();
        let last = chunks.len() - 1;
        let fragment = |(at, chunk): (usize, &&[u8])| {
            let flags = if at == 0 { 0x80 } else { 0 } | if at == last { 0x40 } else { 0 };
            Bytes::from([&[nal[0] & 0x60 | 28, flags | nal[0] & 0x1f][..], chunk].concat())
        };
        chunks.iter().enumerate().map(fragment).collect()
    }

    proptest! {
        #[test]
        fn never_panics(payloads in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..40), 0u32..3), 0..20)) {
            let mut depacketizer = H264Depacketizer::default();
            let mut nals = Vec::new();
            for (payload, timestamp) in payloads {
                let _ = depacketizer.push(&Bytes::from(payload), timestamp, &mut nals);
            }
            prop_assert!(nals.iter().all(|nal| !nal.is_empty() && (1..=23).contains(&(nal[0] & 0x1f))));
        }

        #[test]
        fn never_panics_on_what_looks_right(payloads in prop::collection::vec(
            (prop::sample::select(vec![0x78u8, 0x7c, 0x65, 0x67, 0]), prop::sample::select(vec![0u8, 0x85, 0x05, 0x45, 0xc5]), prop::collection::vec(0u8..4, 0..12)),
            0..20,
        )) {
            let mut depacketizer = H264Depacketizer::default();
            let mut nals = Vec::new();
            for (first, second, rest) in payloads {
                let _ = depacketizer.push(&Bytes::from([vec![first, second], rest].concat()), 1, &mut nals);
            }
        }

        #[test]
        fn round_trip(bodies in prop::collection::vec(prop::collection::vec(1u8..=255, 1..200), 1..8), limit in 3usize..60) {
            let sent: Vec<Vec<u8>> = bodies.into_iter().map(|body| [vec![0x65], body].concat()).collect();
            let mut depacketizer = H264Depacketizer::default();
            let mut nals = Vec::new();
            for nal in &sent {
                for payload in packetize(nal, limit) {
                    depacketizer.push(&payload, 1, &mut nals).unwrap();
                }
            }
            prop_assert_eq!(nals.iter().map(|nal| nal.to_vec()).collect::<Vec<_>>(), sent);
        }
    }
}
