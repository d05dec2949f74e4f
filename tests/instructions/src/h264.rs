//! H.264 of 1280x720 in 30 frames a second, as far as what is counted looks into it.

/// Constrained baseline, level 3.1; one reference frame, `frame_num` of 4 bits, no reordering.
pub const SPS: [u8; 9] = [0x67, 0x42, 0xc0, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xe4];
pub const PPS: [u8; 2] = [0x68, 0xe8];
pub const WIDTH: u32 = 1280;
pub const HEIGHT: u32 = 720;

pub const RATE: u64 = 30;
/// Frames from one IDR to the next.
pub const GROUP: u64 = 60;

/// A picture of one slice, header byte included, of so many bytes: an IDR, or a P picture (`slice_type` 7, 5) whose number in
/// its group is `frame_num`.
pub fn slice(number: u64, length: usize) -> Vec<u8> {
    let frame_num = u32::try_from(number % GROUP % 16).unwrap();
    // first_mb_in_slice, slice_type and pps_id as Exp-Golomb codes, then frame_num.
    let (header, fields) = if is_key(number) { (0x65, 0b1_0001_0001) } else { (0x61, 0b100_1101) };
    let bits: u32 = if is_key(number) { 9 } else { 7 };
    let behind = 32 - bits - 4;
    // Ones behind them: nothing looks like a start code, so nothing is escaped.
    let start = (fields << 4 | frame_num) << behind | ((1 << behind) - 1);
    let mut nal = vec![header];
    nal.extend(start.to_be_bytes());
    nal.extend((nal.len()..length).map(|at| (at * 31 % 251) as u8 | 1));
    nal
}

pub fn is_key(number: u64) -> bool {
    number.is_multiple_of(GROUP)
}

/// Bytes of a frame at so many bits a second: an IDR is five times as large as the others.
pub fn length(number: u64, bits: u64) -> usize {
    let share = bits / 8 * GROUP / RATE / (GROUP + 4);
    usize::try_from(if is_key(number) { 5 * share } else { share }).unwrap()
}
