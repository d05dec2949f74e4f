//! From datagrams to RTP packets: by their first byte, from whom, decrypted, to their track; with the feedback that they cause.

use std::time::Duration;

use kvs_peer::Event;
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_srtp::protection_profile::ProtectionProfile;

use crate::master::{self, Connection};
use crate::region::counted_region;

const PACKETS: u64 = 2_000;
const PAYLOAD: usize = 1_100;
/// So far apart: 2 Mbit/s.
const SPACING: Duration = Duration::from_micros(4_400);

pub fn gcm() -> u64 {
    walk(SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm, ProtectionProfile::AeadAes128Gcm)
}

pub fn cm_sha1() -> u64 {
    walk(SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80, ProtectionProfile::Aes128CmHmacSha1_80)
}

fn walk(offered: SrtpProtectionProfile, profile: ProtectionProfile) -> u64 {
    let Connection { mut receiver, ours, theirs, mut now, mut seal } = master::connect(offered, profile);
    let datagrams: Vec<_> = (0..PACKETS).map(|number| seal.encrypt_rtp(&packet(number)).unwrap()).collect();
    let (received, sent) = counted_region(|| {
        let (mut received, mut sent) = (0, 0);
        for datagram in &datagrams {
            now += SPACING;
            receiver.handle_datagram(ours, theirs, datagram, now);
            if receiver.poll_timeout().is_some_and(|due| due <= now) {
                receiver.handle_timeout(now);
            }
            sent += std::iter::from_fn(|| receiver.poll_transmit(now)).count();
            let events = std::iter::from_fn(|| receiver.poll_event());
            received += events.filter(|event| matches!(event, Event::Rtp { .. })).count() as u64;
        }
        (received, sent)
    });
    assert_eq!(received, PACKETS, "packets were opened");
    assert!(sent > 50, "{sent} datagrams of feedback");
    PACKETS
}

/// Of video, with the header extensions that browsers send (RFC 8285): the section's name and the number for transport-wide
/// feedback.
fn packet(number: u64) -> Vec<u8> {
    let (sequence, timestamp) = ((65_000 + number) as u16, (number / 8 * 3_000) as u32);
    let mut packet = vec![0x90, master::VIDEO | if number % 8 == 7 { 0x80 } else { 0 }];
    packet.extend(sequence.to_be_bytes());
    packet.extend(timestamp.to_be_bytes());
    packet.extend(0xcafe_u32.to_be_bytes());
    packet.extend([0xbe, 0xde, 0, 2]);
    packet.extend([master::MID << 4, b'1', master::TRANSPORT_CC << 4 | 1]);
    packet.extend((number as u16).to_be_bytes());
    packet.extend([0, 0, 0]);
    packet.extend((0..PAYLOAD).map(|at| (at as u64 * 31 + number) as u8));
    packet
}
