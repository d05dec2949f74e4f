//! Reads the bits of a NAL unit's payload (ITU-T H.264 section 7.2 and 9.1; the same in H.265, 7.2 and 9.2).

/// The payload ended, or an Exp-Golomb code is longer than 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EndOfData;

/// The payload of a NAL unit without the emulation prevention bytes, at most `limit` bytes of it.
pub(crate) fn unescape(payload: &[u8], limit: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len().min(limit));
    let mut zeros = 0;
    for &byte in payload {
        if out.len() == limit {
            break;
        }
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
    out
}

pub(crate) struct BitReader<'a> {
    data: &'a [u8],
    position: usize,
}

impl<'a> BitReader<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self { data, position: 0 }
    }

    pub(crate) fn flag(&mut self) -> Result<bool, EndOfData> {
        let byte = self.data.get(self.position / 8).ok_or(EndOfData)?;
        let bit = byte >> (7 - self.position % 8) & 1;
        self.position += 1;
        Ok(bit == 1)
    }

    /// Up to 32 bits.
    pub(crate) fn bits(&mut self, count: u32) -> Result<u32, EndOfData> {
        let mut value = 0;
        for _ in 0..count {
            value = value << 1 | u32::from(self.flag()?);
        }
        Ok(value)
    }

    /// An unsigned Exp-Golomb code.
    pub(crate) fn ue(&mut self) -> Result<u32, EndOfData> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > 31 {
                return Err(EndOfData);
            }
        }
        // At most 2^31 - 1 + 2^31 - 1.
        Ok((1 << zeros) - 1 + self.bits(zeros)?)
    }

    /// A signed Exp-Golomb code.
    pub(crate) fn se(&mut self) -> Result<i32, EndOfData> {
        let code = self.ue()?;
        // The largest code is 2^32 - 2, so the magnitude fits.
        let magnitude = code.div_ceil(2) as i32;
        Ok(if code % 2 == 1 { magnitude } else { -magnitude })
    }
}

/// Writes what no encoder at hand makes.
#[cfg(test)]
#[derive(Default)]
pub(crate) struct Writer {
    bits: Vec<bool>,
}

#[cfg(test)]
impl Writer {
    pub(crate) fn bits(mut self, value: u32, count: u32) -> Self {
        self.bits.extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
        self
    }

    pub(crate) fn ue(self, value: u32) -> Self {
        let width = (value + 1).ilog2();
        self.bits(0, width).bits(value + 1, width + 1)
    }

    /// With the stop bit.
    pub(crate) fn finish(self) -> Vec<u8> {
        let bits = self.bits(1, 1).bits;
        let byte = |bits: &[bool]| {
            bits.iter().enumerate().fold(0, |sum, (at, bit)| sum | u8::from(*bit) << (7 - at))
        };
        bits.chunks(8).map(byte).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_golomb() {
        // 1 010 011 00100 00101 00110
        let data = [0b1010_0110, 0b0100_0010, 0b1001_1000];
        let mut reader = BitReader::new(&data);
        let values: Vec<_> = (0..6).map(|_| reader.ue().unwrap()).collect();
        assert_eq!(values, [0, 1, 2, 3, 4, 5]);
        let mut reader = BitReader::new(&data);
        let values: Vec<_> = (0..6).map(|_| reader.se().unwrap()).collect();
        assert_eq!(values, [0, 1, -1, 2, -2, 3]);
        assert_eq!(BitReader::new(&[0, 0, 0, 0, 255]).ue(), Err(EndOfData));
        assert_eq!(BitReader::new(&[0]).ue(), Err(EndOfData));
        // The longest code: 31 zeros, a one, 31 ones.
        let longest = [0, 0, 0, 1, 255, 255, 255, 254];
        assert_eq!(BitReader::new(&longest).ue(), Ok(u32::MAX - 1));
        assert_eq!(BitReader::new(&longest).se(), Ok(-i32::MAX));
    }

    #[test]
    fn emulation_prevention_is_taken_out() {
        assert_eq!(unescape(&[1, 0, 0, 3, 1, 0, 0, 3, 0, 0, 3], 99), [1, 0, 0, 1, 0, 0, 0, 0]);
        assert_eq!(unescape(&[0, 3, 0, 3], 99), [0, 3, 0, 3]);
        assert_eq!(unescape(&[1, 2, 3], 2), [1, 2]);
    }
}
