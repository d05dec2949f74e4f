//! RTP payloads to NAL units (RFC 6184, packetization modes 0 and 1; RFC 7798 without decoding order numbers).

use std::marker::PhantomData;

use bytes::{BufMut, Bytes, BytesMut};

use super::assemble::MAX_UNITS;
use super::error::ParameterError;
use super::{NalCodec, annex_b};

/// A NAL unit in fragments longer than this is not believed.
const MAX_NAL: usize = 8 << 20;

/// Why a payload, or a NAL unit of it, was skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NalError {
    /// Not even the headers fit.
    #[error("payload of {0} bytes is too short")]
    TooShort(usize),
    /// `forbidden_zero_bit` is set: the sender or a middlebox says that the unit is damaged.
    #[error("forbidden_zero_bit is set")]
    Forbidden,
    /// A packet type that was not agreed on, or a reserved one.
    #[error("packet type {0} is not one that was agreed on")]
    Type(u8),
    /// An aggregation packet (STAP-A, AP) whose unit lengths do not add up.
    #[error("aggregated unit of {unit} bytes with {available} left")]
    Aggregate {
        /// Length the unit claims.
        unit: usize,
        /// Bytes behind the length.
        available: usize,
    },
    /// An aggregation packet or fragmentation unit inside another.
    #[error("packet type {0} inside an aggregate or fragment")]
    Nested(u8),
    /// A continuation (FU-A, FU) without its start.
    #[error("fragment that continues without a start")]
    NoStart,
    /// A continuation of another NAL unit than the one that was started.
    #[error("fragment of type {got}, but type {started} was started")]
    Mixed {
        /// NAL unit type of the start.
        started: u8,
        /// NAL unit type of the continuation.
        got: u8,
    },
    /// A fragmented NAL unit was left without its end; its bytes are dropped.
    #[error("fragments without their end, {0} bytes dropped")]
    NoEnd(usize),
    /// A fragmented NAL unit longer than 8 MiB.
    #[error("fragmented NAL unit of more than {MAX_NAL} bytes")]
    TooLong,
    /// A packet, or a fragmented NAL unit, that holds more NAL units than a picture has.
    #[error("more than {MAX_UNITS} NAL units in one packet or fragmented unit")]
    TooMany,
    /// A parameter set that cannot be used.
    #[error(transparent)]
    Parameters(#[from] ParameterError),
}

struct Fragments {
    kind: u8,
    timestamp: u32,
    data: BytesMut,
}

/// Takes payloads in order, gives NAL units without start codes.
pub struct Depacketizer<C> {
    fragments: Option<Fragments>,
    out_of_step: bool,
    codec: PhantomData<C>,
}

impl<C> Default for Depacketizer<C> {
    fn default() -> Self {
        Self { fragments: None, out_of_step: true, codec: PhantomData }
    }
}

impl<C: NalCodec> Depacketizer<C> {
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
    /// fragment is ([`NalError::NoEnd`]).
    pub fn push(&mut self, payload: &Bytes, timestamp: u32, nals: &mut Vec<Bytes>) -> Result<(), NalError> {
        let result = self.take(payload, timestamp, nals);
        self.out_of_step &= result == Err(NalError::NoStart);
        result
    }

    fn take(&mut self, payload: &Bytes, timestamp: u32, nals: &mut Vec<Bytes>) -> Result<(), NalError> {
        let Some(&first) = payload.first() else { return Err(NalError::TooShort(0)) };
        if payload.starts_with(&[0, 0, 1]) || payload.starts_with(&[0, 0, 0, 1]) {
            // Some cameras put whole byte streams into packets.
            let dangling = self.drop_fragments();
            let count = nals.len();
            split::<C>(payload, nals)?;
            if nals.len() == count {
                return Err(NalError::TooShort(payload.len()));
            }
            return dangling;
        }
        if first & 0x80 != 0 {
            return Err(NalError::Forbidden);
        }
        let kind = C::kind(payload);
        if kind == C::FRAGMENT {
            return self.fragment(payload, timestamp, nals);
        }
        if kind != C::AGGREGATE && !C::is_unit(kind) {
            return Err(NalError::Type(kind));
        }
        let dangling = self.drop_fragments();
        if kind == C::AGGREGATE {
            aggregate::<C>(payload, nals)?;
        } else {
            split::<C>(payload, nals)?;
        }
        dangling
    }

    fn drop_fragments(&mut self) -> Result<(), NalError> {
        match self.fragments.take() {
            Some(fragments) => Err(NalError::NoEnd(fragments.data.len())),
            None => Ok(()),
        }
    }

    fn fragment(&mut self, payload: &Bytes, timestamp: u32, nals: &mut Vec<Bytes>) -> Result<(), NalError> {
        let Some((&fu, rest)) = payload.get(C::HEADER..).and_then(<[u8]>::split_first) else {
            self.fragments = None;
            return Err(NalError::TooShort(payload.len()));
        };
        let (start, end, got) = (fu & 0x80 != 0, fu & 0x40 != 0, fu & C::FRAGMENT_KIND);
        if !C::is_unit(got) {
            self.fragments = None;
            return Err(NalError::Nested(got));
        }
        let dangling = if start { self.drop_fragments() } else { Ok(()) };
        if start {
            // Rarely more than a few packets; grows when it is.
            let mut data = BytesMut::with_capacity(rest.len() * 4);
            C::put_header(payload, got, &mut data);
            self.fragments = Some(Fragments { kind: got, timestamp, data });
        }
        let Some(fragments) = &mut self.fragments else { return Err(NalError::NoStart) };
        if fragments.kind != got || fragments.timestamp != timestamp {
            let started = fragments.kind;
            self.fragments = None;
            return Err(NalError::Mixed { started, got });
        }
        if fragments.data.len() + rest.len() > MAX_NAL {
            self.fragments = None;
            return Err(NalError::TooLong);
        }
        fragments.data.put_slice(rest);
        if end && let Some(fragments) = self.fragments.take() {
            split::<C>(&fragments.data.freeze(), nals)?;
        }
        dangling
    }
}

/// STAP-A (RFC 6184, section 5.7.1) and AP (RFC 7798, section 4.4.2). All or nothing: lengths that do not add up make the
/// whole packet doubtful.
fn aggregate<C: NalCodec>(payload: &Bytes, nals: &mut Vec<Bytes>) -> Result<(), NalError> {
    let before = nals.len();
    let result = (|| {
        let mut at = C::HEADER;
        if payload.len() < at + 2 + C::HEADER {
            return Err(NalError::TooShort(payload.len()));
        }
        while at < payload.len() {
            // Zeros behind the last unit are somebody's alignment.
            if nals.len() > before && payload[at..].iter().all(|byte| *byte == 0) {
                return Ok(());
            }
            let available = payload.len() - at;
            let unit = match payload.get(at..at + 2) {
                Some(length) => usize::from(u16::from_be_bytes([length[0], length[1]])),
                None => return Err(NalError::Aggregate { unit: 0, available }),
            };
            at += 2;
            let wrong = NalError::Aggregate { unit, available: available - 2 };
            let bytes = payload.get(at..at + unit).filter(|bytes| bytes.len() >= C::HEADER).ok_or(wrong)?;
            let kind = C::kind(bytes);
            if bytes[0] & 0x80 != 0 {
                return Err(NalError::Forbidden);
            }
            if kind >= C::AGGREGATE {
                return Err(NalError::Nested(kind));
            }
            split::<C>(&payload.slice(at..at + unit), nals)?;
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
fn split<C: NalCodec>(unit: &Bytes, nals: &mut Vec<Bytes>) -> Result<(), NalError> {
    let before = nals.len();
    for range in annex_b::split(unit) {
        let bytes = &unit[range.clone()];
        let kind = C::kind(bytes);
        let wrong = if bytes[0] & 0x80 != 0 {
            Some(NalError::Forbidden)
        } else if bytes.len() < C::HEADER {
            Some(NalError::TooShort(bytes.len()))
        } else if !C::is_unit(kind) {
            Some(NalError::Nested(kind))
        } else {
            // While it is split: eight megabytes may hold two million units.
            (nals.len() >= MAX_UNITS).then_some(NalError::TooMany)
        };
        if let Some(wrong) = wrong {
            nals.truncate(before);
            return Err(wrong);
        }
        nals.push(unit.slice(range));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::h264::H264;
    use crate::codec::h265::H265;
    use proptest::prelude::*;

    fn push_all(payloads: &[&[u8]]) -> (Vec<Vec<u8>>, Vec<NalError>) {
        let mut depacketizer = Depacketizer::<H264>::default();
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
        let mut depacketizer = Depacketizer::<H264>::default();
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
            assert_eq!(result, if part == 129 { Err(NalError::TooMany) } else { Ok(()) });
        }
        assert!(nals.is_empty() && nals.capacity() <= 2 * MAX_UNITS);
        let stap = Bytes::from([&[0x78][..], &[0, 1, 0x41].repeat(20_000)].concat());
        assert_eq!(depacketizer.push(&stap, 7, &mut nals), Err(NalError::TooMany));
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
        assert_eq!((nals.len(), errors), (0, vec![NalError::Aggregate { unit: 0, available: 1 }]));
        // A zero is alignment.
        assert_eq!(push_all(&[&[0x78, 0, 2, 0x67, 1, 0]]), (vec![vec![0x67, 1]], vec![]));
    }

    #[test]
    fn stap_a_that_does_not_add_up() {
        let cut = push_all(&[&[0x78, 0, 9, 0x67, 1]]);
        assert_eq!(cut, (vec![], vec![NalError::Aggregate { unit: 9, available: 2 }]));
        let empty = push_all(&[&[0x78, 0, 0, 0, 1, 0x67]]);
        assert_eq!(empty, (vec![], vec![NalError::Aggregate { unit: 0, available: 3 }]));
        assert_eq!(push_all(&[&[0x78, 0, 2, 0x78, 1]]), (vec![], vec![NalError::Nested(24)]));
        assert_eq!(push_all(&[&[0x78, 0]]), (vec![], vec![NalError::TooShort(2)]));
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
        assert_eq!((nals, errors), (vec![vec![0x61, 3, 4]], vec![NalError::NoEnd(3)]));
        let (nals, errors) = push_all(&[&[0x7c, 0x85, 1, 2], &[0x61, 9], &[0x7c, 0x45, 4]]);
        assert_eq!((nals, errors), (vec![vec![0x61, 9]], vec![NalError::NoEnd(3), NalError::NoStart]));
        let (nals, errors) = push_all(&[&[0x7c, 0x85, 1, 2], &[0x78, 0, 1, 0x68], &[0x7c, 0x45, 4]]);
        assert_eq!((nals, errors), (vec![vec![0x68]], vec![NalError::NoEnd(3), NalError::NoStart]));
    }

    #[test]
    fn a_continuation_of_something_else_is_refused() {
        let (nals, errors) = push_all(&[&[0x7c, 0x85, 1, 2], &[0x7c, 0x41, 3]]);
        assert_eq!((nals, errors), (vec![], vec![NalError::Mixed { started: 5, got: 1 }]));
        let mut depacketizer = Depacketizer::<H264>::default();
        let mut nals = Vec::new();
        depacketizer.push(&Bytes::from_static(&[0x7c, 0x85, 1]), 7, &mut nals).unwrap();
        assert!(depacketizer.is_inside());
        let error = depacketizer.push(&Bytes::from_static(&[0x7c, 0x45, 1]), 8, &mut nals);
        assert_eq!((error, nals.len()), (Err(NalError::Mixed { started: 5, got: 5 }), 0));
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
            assert_eq!(push_all(&[&[kind, 1, 2, 3]]), (vec![], vec![NalError::Type(kind)]));
        }
        assert_eq!(push_all(&[&[0xe5, 1]]), (vec![], vec![NalError::Forbidden]));
        assert_eq!(push_all(&[&[]]), (vec![], vec![NalError::TooShort(0)]));
        assert_eq!(push_all(&[&[0x7c]]), (vec![], vec![NalError::TooShort(1)]));
        assert_eq!(push_all(&[&[0x7c, 0x9c, 1]]), (vec![], vec![NalError::Nested(28)]));
        assert_eq!(push_all(&[&[0, 0, 1]]), (vec![], vec![NalError::TooShort(3)]));
    }

    #[test]
    fn an_endless_fragment_is_bounded() {
        let mut depacketizer = Depacketizer::<H264>::default();
        let mut nals = Vec::new();
        let piece = |first: u8| Bytes::from([vec![0x7c, first], vec![1; 60_000]].concat());
        depacketizer.push(&piece(0x85), 7, &mut nals).unwrap();
        let error = (0..1000).find_map(|_| depacketizer.push(&piece(0x05), 7, &mut nals).err());
        assert_eq!(error, Some(NalError::TooLong));
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

    #[test]
    fn h265_has_headers_of_two_bytes() {
        let push_all = |payloads: &[&[u8]]| {
            let mut depacketizer = Depacketizer::<H265>::default();
            let mut nals = Vec::new();
            let push =
                |payload: &&[u8]| depacketizer.push(&Bytes::copy_from_slice(payload), 7, &mut nals).err();
            let errors: Vec<_> = payloads.iter().filter_map(push).collect();
            (nals.iter().map(|nal| nal.to_vec()).collect::<Vec<_>>(), errors)
        };
        assert_eq!(push_all(&[&[0x26, 1, 9]]), (vec![vec![0x26, 1, 9]], vec![]));
        // AP of a VPS and an SPS; layer and temporal id of the fragments' headers stay.
        let aggregate = [0x60, 1, 0, 3, 0x40, 1, 5, 0, 2, 0x42, 1];
        assert_eq!(push_all(&[&aggregate]), (vec![vec![0x40, 1, 5], vec![0x42, 1]], vec![]));
        assert_eq!(
            push_all(&[&[0x62, 3, 0x93, 1], &[0x62, 3, 0x13, 2], &[0x62, 3, 0x53, 3]]),
            (vec![vec![0x26, 3, 1, 2, 3]], vec![])
        );
        // A unit of one byte has no header.
        assert_eq!(
            push_all(&[&[0x60, 1, 0, 1, 0x40, 0, 2, 0x42, 1]]),
            (vec![], vec![NalError::Aggregate { unit: 1, available: 5 }])
        );
        assert_eq!(push_all(&[&[0x26]]), (vec![], vec![NalError::TooShort(1)]));
        assert_eq!(push_all(&[&[0x62, 1]]), (vec![], vec![NalError::TooShort(2)]));
        // PACI, and what is reserved.
        for kind in [50, 51, 63] {
            assert_eq!(push_all(&[&[kind << 1, 1, 2, 3]]), (vec![], vec![NalError::Type(kind)]));
        }
        assert_eq!(push_all(&[&[0x62, 1, 0xb0, 1]]), (vec![], vec![NalError::Nested(48)]));
        assert_eq!(push_all(&[&[0xa6, 1, 2]]), (vec![], vec![NalError::Forbidden]));
    }

    proptest! {
        #[test]
        fn never_panics(payloads in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..40), 0u32..3), 0..20)) {
            let mut depacketizer = Depacketizer::<H264>::default();
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
            let mut depacketizer = Depacketizer::<H264>::default();
            let mut nals = Vec::new();
            for (first, second, rest) in payloads {
                let _ = depacketizer.push(&Bytes::from([vec![first, second], rest].concat()), 1, &mut nals);
            }
        }

        #[test]
        fn round_trip(bodies in prop::collection::vec(prop::collection::vec(1u8..=255, 1..200), 1..8), limit in 3usize..60) {
            let sent: Vec<Vec<u8>> = bodies.into_iter().map(|body| [vec![0x65], body].concat()).collect();
            let mut depacketizer = Depacketizer::<H264>::default();
            let mut nals = Vec::new();
            for nal in &sent {
                for payload in packetize(nal, limit) {
                    depacketizer.push(&payload, 1, &mut nals).unwrap();
                }
            }
            prop_assert_eq!(nals.iter().map(|nal| nal.to_vec()).collect::<Vec<_>>(), sent);
        }

        #[test]
        fn h265_never_panics(payloads in prop::collection::vec((
            prop::sample::select(vec![0x60u8, 0x62, 0x26, 0x40, 0]), any::<u8>(), prop::sample::select(vec![0x93u8, 0x13, 0x53, 0, 0xd3]), prop::collection::vec(0u8..4, 0..20),
        ), 0..20)) {
            let mut depacketizer = Depacketizer::<H265>::default();
            let mut nals = Vec::new();
            for (first, second, third, rest) in payloads {
                let payload = [vec![first, second, third], rest].concat();
                let _ = depacketizer.push(&Bytes::from(payload), 1, &mut nals);
            }
            prop_assert!(nals.iter().all(|nal| nal.len() >= 2 && nal[0] >> 1 & 0x3f < 48));
        }

        #[test]
        fn h265_round_trip(bodies in prop::collection::vec(prop::collection::vec(1u8..=255, 1..200), 1..8), limit in 4usize..60, kind in 0u8..41) {
            let sent: Vec<Vec<u8>> = bodies.into_iter().map(|body| [vec![kind << 1, 1], body].concat()).collect();
            let mut depacketizer = Depacketizer::<H265>::default();
            let mut nals = Vec::new();
            for nal in &sent {
                let chunks: Vec<_> = nal[2..].chunks(limit).collect();
                for (at, chunk) in chunks.iter().enumerate() {
                    let flags = if at == 0 { 0x80 } else { 0 } | if at + 1 == chunks.len() { 0x40 } else { 0 };
                    let payload = [&[0x62, 1, flags | kind][..], chunk].concat();
                    depacketizer.push(&Bytes::from(payload), 1, &mut nals).unwrap();
                }
            }
            prop_assert_eq!(nals.iter().map(|nal| nal.to_vec()).collect::<Vec<_>>(), sent);
        }
    }
}
