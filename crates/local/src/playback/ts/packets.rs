//! Transport packets of 188 bytes (ISO/IEC 13818-1 section 2.4.3), and the tables that say what is in them.

/// Length of a packet.
const PACKET: usize = 188;

/// What an adaptation field says of the packet that it is in.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Adaptation {
    /// Program clock reference, in units of 90 kHz.
    pub(super) clock: Option<u64>,
    /// Decoding can begin here.
    pub(super) random_access: bool,
}

/// Packets of one PID.
#[derive(Debug)]
pub(super) struct Pid {
    number: u16,
    counter: u8,
    begun: bool,
}

impl Pid {
    pub(super) fn new(number: u16) -> Self {
        Self { number, counter: 0, begun: false }
    }

    /// Writes a payload into as many packets as it takes. The first packet of a segment says that its counter does not go on
    /// from the segment before, which another process may have written.
    pub(super) fn write(&mut self, out: &mut Vec<u8>, payload: &[u8], adaptation: Adaptation) {
        let (mut rest, mut first) = (payload, true);
        while first || !rest.is_empty() {
            let mut field = Vec::new();
            let discontinuity = !std::mem::replace(&mut self.begun, true);
            let Adaptation { clock, random_access } = if first { adaptation } else { Adaptation::default() };
            if discontinuity || clock.is_some() || random_access {
                let flags = u8::from(discontinuity) << 7 | u8::from(random_access) << 6;
                field.push(flags | if clock.is_some() { 0x10 } else { 0 });
                if let Some(clock) = clock {
                    // 33 bits of base, 6 reserved, 9 of extension
                    let bits = (clock & 0x1_FFFF_FFFF) << 15 | 0x3F << 9;
                    field.extend(&bits.to_be_bytes()[2..]);
                }
            }
            let header = if field.is_empty() { 4 } else { 5 + field.len() };
            let taken = rest.len().min(PACKET - header);
            // What the payload does not fill is stuffed in front of it.
            let stuffing = PACKET - header - taken;
            let adapted = !field.is_empty() || stuffing > 0;
            let start = if first { 0x40 } else { 0 };
            out.extend([0x47, start | (self.number >> 8) as u8, self.number as u8]);
            out.push(if adapted { 0x30 } else { 0x10 } | self.counter);
            self.counter = (self.counter + 1) & 0x0F;
            if adapted {
                if field.is_empty() && stuffing == 1 {
                    out.push(0);
                } else {
                    // the length takes a byte of the stuffing where there was no field, and the flags another
                    let bare = field.is_empty();
                    let pad = if bare { stuffing - 2 } else { stuffing };
                    let flags_and_field = if bare { vec![0] } else { field };
                    out.push((flags_and_field.len() + pad) as u8);
                    out.extend(flags_and_field);
                    out.extend(std::iter::repeat_n(0xFF, pad));
                }
            }
            out.extend(&rest[..taken]);
            rest = &rest[taken..];
            first = false;
        }
    }
}

/// What the payload of the first packet of a PID has room for: its adaptation field has two bytes.
const FIRST_PAYLOAD: usize = PACKET - 6;

/// A table of program information (section 2.4.4) with its checksum, as the payload of the first packet of its PID.
pub(super) fn section(table: u8, id: u16, content: &[u8]) -> Vec<u8> {
    let length = (5 + content.len() + 4) as u16;
    let mut out = vec![0, table];
    out.extend((0xB000 | length).to_be_bytes());
    out.extend(id.to_be_bytes());
    out.extend([0xC1, 0, 0]); // version 0, current; the only section
    out.extend(content);
    let checksum = crc32(&out[1..]);
    out.extend(checksum.to_be_bytes());
    out.resize(FIRST_PAYLOAD.max(out.len()), 0xFF);
    out
}

/// CRC-32/MPEG-2 (section 2.4.4 annex A).
fn crc32(data: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in data {
        crc ^= u32::from(*byte) << 24;
        for _ in 0..8 {
            crc = crc << 1 ^ if crc & 0x8000_0000 == 0 { 0 } else { 0x04C1_1DB7 };
        }
    }
    crc
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The payload of packets of one PID, and that their counters rise.
    fn payload(packets: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for (number, packet) in packets.chunks(PACKET).enumerate() {
            assert_eq!((packet.len(), packet[0], packet[3] & 0x0F), (PACKET, 0x47, (number % 16) as u8));
            let start = if packet[3] & 0x20 == 0 { 4 } else { 5 + usize::from(packet[4]) };
            out.extend(&packet[start..]);
        }
        out
    }

    proptest! {
        #[test]
        fn what_is_written_is_in_the_packets(
            lengths in prop::collection::vec(1..600_usize, 1..12), clocked in any::<bool>(), random_access in any::<bool>(),
        ) {
            let mut pid = Pid::new(0x100);
            let (mut out, mut whole) = (Vec::new(), Vec::new());
            for length in lengths {
                let data: Vec<u8> = (0..length).map(|at| at as u8).collect();
                pid.write(&mut out, &data, Adaptation { clock: clocked.then_some(1 << 32), random_access });
                whole.extend(data);
            }
            prop_assert_eq!(payload(&out), whole);
        }
    }

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        assert_eq!(crc32(b"123456789"), 0x0376_E6E7);
    }
}
