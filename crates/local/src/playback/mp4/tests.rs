//! What is written here is read by `mp4-atom`, which shares nothing with it.

use std::io::Cursor;

use mp4_atom::{Any, Codec, DecodeMaybe, Mdat, Moof, Moov, Trak};
use proptest::prelude::*;

use super::{Clip, ClipTrack, init_segment, media_segment};
use crate::playback::media::{
    TrackSamples, configs, read,
    stored::{AAC, SPS, avcc, cluster, g711, header, hvcc, slice},
};

fn atoms(data: &[u8]) -> Vec<Any> {
    let mut cursor = Cursor::new(data);
    let mut atoms = Vec::new();
    while let Some(atom) = Any::decode_maybe(&mut cursor).expect("boxes that can be read") {
        atoms.push(atom);
    }
    assert_eq!(cursor.position(), data.len() as u64, "nothing is left over");
    atoms
}

fn moov(atoms: &[Any]) -> &Moov {
    atoms.iter().find_map(|atom| if let Any::Moov(moov) = atom { Some(moov) } else { None }).unwrap()
}

#[test]
fn the_decoder_is_set_up_with_what_the_producer_sent() {
    let asc = [0x11, 0x90, 0x56, 0xE5, 0x00];
    let tracks: [(&str, &[u8]); 4] = [
        ("V_MPEG4/ISO/AVC", &avcc(SPS)),
        ("V_MPEGH/ISO/HEVC", &hvcc()),
        ("A_AAC", &asc),
        ("A_MS/ACM", &g711(6)),
    ];
    for ((codec, private), config) in tracks.iter().zip(configs(&header(&tracks)).unwrap()) {
        let init = init_segment(&config, 2);
        assert!(
            *codec == "A_MS/ACM" || init.windows(private.len()).any(|window| window == *private),
            "as it came"
        );
        let atoms = atoms(&init);
        let moov = moov(&atoms);
        let trak = &moov.trak[0];
        assert_eq!((trak.tkhd.track_id, trak.mdia.mdhd.timescale), (2, config.timescale()));
        assert_eq!(moov.mvex.as_ref().unwrap().trex[0].track_id, 2);
        match (&trak.mdia.minf.stbl.stsd.codecs[0], *codec) {
            (Codec::Avc1(entry), "V_MPEG4/ISO/AVC") => {
                assert_eq!((entry.visual.width, entry.visual.height), (320, 240));
                assert_eq!(hex::encode(&entry.avcc.sequence_parameter_sets[0]), SPS);
            }
            (Codec::Hvc1(entry), "V_MPEGH/ISO/HEVC") => {
                assert_eq!((entry.visual.width, entry.visual.height), (320, 240));
                assert_eq!(entry.hvcc.arrays.len(), 3);
            }
            (Codec::Mp4a(entry), "A_AAC") => {
                assert_eq!(entry.audio.channel_count, 2);
                assert_eq!(entry.esds.es_desc.dec_config.dec_specific.as_ref().unwrap().raw, asc);
            }
            (Codec::Unknown(kind, _), "A_MS/ACM") => assert_eq!(kind.to_string(), "alaw"),
            (other, _) => panic!("{codec}: {other:?}"),
        }
    }
}

/// Pictures out of order and sound, at times as a producer may give them.
fn fragment(at_ms: u64, pictures: &[(i16, usize)], sounds: u8) -> Vec<TrackSamples> {
    let header = header(&[("V_MPEG4/ISO/AVC", &avcc(SPS)), ("A_AAC", &AAC)]);
    let mut blocks: Vec<_> = pictures
        .iter()
        .enumerate()
        .map(|(index, (time, length))| (1, *time, index == 0, slice(index == 0, *length)))
        .collect();
    blocks.extend((0..sounds).map(|index| (2, i16::from(index) * 21, true, vec![index; 10])));
    read(&header, &cluster(at_ms, &blocks), at_ms).unwrap()
}

fn contents(track: &TrackSamples) -> Vec<Vec<u8>> {
    track.samples.iter().map(|sample| sample.data.to_vec()).collect()
}

/// The samples of a track by its tables.
fn by_tables(file: &[u8], trak: &Trak) -> Vec<Vec<u8>> {
    let stbl = &trak.mdia.minf.stbl;
    let mp4_atom::StszSamples::Different { sizes } = &stbl.stsz.samples else { panic!("{:?}", stbl.stsz) };
    let offsets = &stbl.co64.as_ref().unwrap().entries;
    let mut sizes = sizes.iter().map(|size| *size as usize);
    let mut found = Vec::new();
    for (chunk, offset) in (1..).zip(offsets) {
        let run = stbl.stsc.entries.iter().rev().find(|run| run.first_chunk <= chunk).unwrap();
        let mut at = usize::try_from(*offset).unwrap();
        for size in sizes.by_ref().take(run.samples_per_chunk as usize) {
            found.push(file[at..at + size].to_vec());
            at += size;
        }
    }
    found
}

proptest! {
    #[test]
    fn segments_hold_the_samples_at_their_times(
        at_ms in 0..=253_402_300_799_999_u64,
        pictures in prop::collection::vec((-300..3_000_i16, 1..50_usize), 1..30),
    ) {
        let track = fragment(at_ms, &pictures, 3).remove(0);
        let data = media_segment(&track.samples, 1, 7);
        let atoms = atoms(&data);
        let (Any::Moof(Moof { mfhd, traf, .. }), Any::Mdat(Mdat { data: content, .. })) = (&atoms[1], &atoms[2]) else {
            panic!("{atoms:?}")
        };
        prop_assert_eq!(mfhd.sequence_number, 7);
        let (traf, trun) = (&traf[0], &traf[0].trun[0]);
        prop_assert_eq!(traf.tfdt.as_ref().unwrap().base_media_decode_time, track.samples[0].decode as u64);
        // the data offset is from the start of moof, which is behind styp
        let styp = data.windows(4).position(|window| window == b"moof").unwrap() - 4;
        let mut at = styp + trun.data_offset.unwrap() as usize;
        prop_assert_eq!(trun.entries.len(), track.samples.len());
        for (entry, sample) in trun.entries.iter().zip(&track.samples) {
            prop_assert_eq!((entry.duration, entry.cts), (Some(sample.duration), Some(sample.offset)));
            let end = at + entry.size.unwrap() as usize;
            prop_assert_eq!(&data[at..end], &sample.data[..]);
            at = end;
        }
        prop_assert_eq!(at, data.len());
        prop_assert_eq!(content.len(), track.samples.iter().map(|sample| sample.data.len()).sum::<usize>());
    }

    #[test]
    fn clips_hold_the_samples_of_all_fragments(
        fragments in prop::collection::vec(
            (0..5_000_u64, prop::collection::vec((0..2_000_i16, 1..50_usize), 1..8), 1..6_u8), 1..6,
        ),
    ) {
        let mut at = 1_795_215_762_009;
        let fragments: Vec<_> = fragments.iter().map(|(step, pictures, sounds)| {
            at += step;
            fragment(at, pictures, *sounds)
        }).collect();
        let mut clip = Clip::new(fragments[0].iter().map(|track| ClipTrack::new(track.config.clone())).collect());
        fragments.iter().for_each(|fragment| clip.push(fragment));
        let content: Vec<u8> = fragments.iter().flat_map(|fragment| Clip::content(fragment)).collect();
        prop_assert_eq!(clip.size(), content.len() as u64);
        let file = [&clip.head()[..], &content].concat();
        let atoms = atoms(&file);
        let moov = moov(&atoms);
        for (place, trak) in moov.trak.iter().enumerate() {
            let expected: Vec<_> = fragments.iter().flat_map(|fragment| contents(&fragment[place])).collect();
            prop_assert_eq!(by_tables(&file, trak), expected);
            let stbl = &trak.mdia.minf.stbl;
            let timed: u32 = stbl.stts.entries.iter().map(|run| run.sample_count).sum();
            prop_assert_eq!(timed as usize, trak_samples(&fragments, place));
            prop_assert!(stbl.stts.entries.iter().all(|run| run.sample_delta > 0));
        }
    }
}

proptest! {
    /// A gap is as long as it was, however long: what GetClip takes lies within a day.
    #[test]
    fn the_times_of_a_clip_are_those_of_its_fragments(
        steps in prop::collection::vec(prop_oneof![0..5_000_u64, 20_000_000..86_000_000_u64], 1..5),
    ) {
        let (mut at, mut fragments) = (1_795_215_762_009, Vec::new());
        for step in steps {
            fragments.push(fragment(at, &[(0, 9), (40, 9), (80, 9)], 4));
            at += 200 + step;
        }
        let tracks = fragments[0].iter().map(|track| ClipTrack::new(track.config.clone())).collect();
        let mut clip = Clip::new(tracks);
        fragments.iter().for_each(|fragment| clip.push(fragment));
        let file = clip.head();
        // what follows is not looked into
        let Ok(Some(Any::Moov(moov))) = ({
            let mut cursor = Cursor::new(&file[..]);
            Any::decode_maybe(&mut cursor).and_then(|_| Any::decode_maybe(&mut cursor))
        }) else { panic!("no moov") };
        for (place, trak) in moov.trak.iter().enumerate() {
            let samples: Vec<_> = fragments.iter().flat_map(|fragment| &fragment[place].samples).collect();
            let scale = f64::from(fragments[0][place].config.timescale());
            let (mut time, mut index) = (0_u64, 0);
            for run in &trak.mdia.minf.stbl.stts.entries {
                prop_assert!((1..=i32::MAX as u32).contains(&run.sample_delta));
                for _ in 0..run.sample_count {
                    let seconds = time as f64 / f64::from(trak.mdia.mdhd.timescale);
                    let expected = (samples[index].decode - samples[0].decode) as f64 / scale;
                    prop_assert!((seconds - expected).abs() < 0.001, "{index}: {seconds} {expected}");
                    (time, index) = (time + u64::from(run.sample_delta), index + 1);
                }
            }
            prop_assert_eq!((index, time), (samples.len(), trak.mdia.mdhd.duration));
        }
    }
}

fn trak_samples(fragments: &[Vec<TrackSamples>], place: usize) -> usize {
    fragments.iter().map(|fragment| fragment[place].samples.len()).sum()
}
