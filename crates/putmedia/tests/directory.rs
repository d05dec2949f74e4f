//! The folder of the spool, on a real disk.
#![cfg(feature = "disk")]
#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use kvs_putmedia::spool::{Directory, Opened, SpoolError, SpoolKey, SpooledFragment};
use kvs_putmedia::{
    Frame, HostClock, MediaTime, Output, Producer, ProducerConfig, SpoolConfig, TrackFormat, TrackKind,
    Transmit,
};

const STREAM: &str = "eu-central-1/front-door";

/// Fragments as a producer without a network spools them, a second each, from this second on.
fn spooled(run: u64, from: u64, count: u64) -> Vec<(SpoolKey, SpooledFragment)> {
    spooled_by(|_| {}, run, from, count)
}

fn spooled_by(
    prepare: impl FnOnce(&mut Producer),
    run: u64,
    from: u64,
    count: u64,
) -> Vec<(SpoolKey, SpooledFragment)> {
    let mut producer =
        Producer::new(ProducerConfig { spool: Some(SpoolConfig::new(1 << 30)), ..ProducerConfig::default() });
    prepare(&mut producer);
    let now = Instant::now();
    producer.spool_opened(run, Vec::new(), now);
    producer.set_format(TrackFormat::h264(Bytes::from_static(&[1, 0x42, 0, 0x1e, 0xff]), 320, 240));
    for second in from..from + count {
        let time = MediaTime::from_millis(second * 1000);
        let data = Bytes::from(vec![second as u8; 500]);
        producer.push_frame(Frame { track: TrackKind::Video, time, random_access: true, data }, now);
    }
    producer.finish(now);
    let mut found = Vec::new();
    while let Some(output) = producer.poll_output() {
        if let Output::Spill(key, fragment) = output {
            producer.handle_spilled(key, Ok(()), now);
            found.push((key, fragment));
        }
    }
    assert_eq!(found.len() as u64, count);
    found
}

/// A process that never learns what AWS's clock says is killed. The next one does: what the first has recorded gets the
/// times that it should have had, in the sessions that the service sees.
#[test]
fn what_a_clock_of_1970_has_told_is_put_right_by_the_process_that_knows() {
    const NOW: i64 = 1_795_000_000_000;
    let boot = |boot: u8, booted_ms| HostClock { boot: [boot; 16], booted_ms };
    // Media of seconds 100 to 102 since 1970, where the machine was started at 0.
    for (known, skew_ms, first) in [
        // The same start of the machine, and a clock that was set since.
        (boot(1, NOW), 0, NOW + 100_000),
        // Or was not.
        (boot(1, NOW), NOW, NOW + 100_000),
        // Another start: what was recorded before it has ended by then.
        (boot(2, NOW), NOW, NOW - 2000),
    ] {
        for known_first in [true, false] {
            let root = tempfile::tempdir().unwrap();
            let opened = open(root.path());
            let unconfirmed = |producer: &mut Producer| producer.set_host_clock(boot(1, 0));
            for (key, fragment) in spooled_by(unconfirmed, opened.directory.run(), 100, 3) {
                opened.directory.write(key, &fragment).unwrap();
            }
            drop(opened);
            let opened = open(root.path());
            let config =
                ProducerConfig { spool: Some(SpoolConfig::new(1 << 30)), ..ProducerConfig::default() };
            let (mut producer, now) = (Producer::new(config), Instant::now());
            if known_first {
                producer.clock_is_known(known, skew_ms, now);
                producer.spool_opened(opened.directory.run(), opened.found, now);
            } else {
                producer.spool_opened(opened.directory.run(), opened.found, now);
                producer.clock_is_known(known, skew_ms, now);
            }
            let mut session = None;
            let mut sent = Vec::new();
            for _ in 0..100 {
                while let Some(output) = producer.poll_output() {
                    match output {
                        Output::Connect(start) => session = Some(start.id),
                        Output::Load(key) => {
                            producer.handle_loaded(key, Ok(opened.directory.read(key).unwrap()), now);
                        }
                        _ => {}
                    }
                }
                if let Transmit::Data(data) = producer.poll_transmit(session.unwrap(), now) {
                    sent.extend(data.concat());
                }
            }
            // Timecode (E7) of a cluster, eight bytes.
            let timecodes = sent.windows(10).filter(|bytes| bytes[..2] == [0xe7, 0x88]);
            let found: Vec<_> =
                timecodes.map(|bytes| i64::from_be_bytes(bytes[2..].try_into().unwrap())).collect();
            assert_eq!(found, [first, first + 1000, first + 2000], "{known:?} {skew_ms} {known_first}");
        }
    }
}

fn open(root: &Path) -> Opened {
    Directory::open(root, STREAM).unwrap()
}

fn starts(opened: &Opened) -> Vec<u64> {
    opened.found.iter().map(|found| found.head.start_ms()).collect()
}

#[test]
fn what_one_run_wrote_the_next_one_finds_in_order() {
    let root = tempfile::tempdir().unwrap();
    for (run, from) in [(1, 10), (2, 20)] {
        let opened = open(root.path());
        assert_eq!(opened.directory.run(), run);
        for (key, fragment) in spooled(run, from, 3).into_iter().rev() {
            opened.directory.write(key, &fragment).unwrap();
        }
    }
    let opened = open(root.path());
    assert_eq!(starts(&opened), [10_000, 11_000, 12_000, 20_000, 21_000, 22_000]);
    assert_eq!((opened.directory.run(), opened.damaged.len()), (3, 0));
    let (key, fragment) = spooled(2, 20, 3).remove(1);
    assert_eq!(opened.directory.read(key).unwrap(), fragment);
    assert_eq!(opened.found[4].bytes, fragment.file_len());
    opened.directory.delete(key).unwrap();
    opened.directory.delete(key).unwrap();
    drop(opened);
    assert_eq!(starts(&open(root.path())), [10_000, 11_000, 12_000, 20_000, 22_000]);
}

#[test]
fn damaged_files_are_named_and_set_aside() {
    let root = tempfile::tempdir().unwrap();
    let opened = open(root.path());
    let folder = opened.directory.folder().to_owned();
    let fragments = spooled(1, 10, 4);
    for (key, fragment) in &fragments {
        opened.directory.write(*key, fragment).unwrap();
    }
    drop(opened);
    let path = |index: usize| folder.join(fragments[index].0.file().to_string());
    // Cut by a power failure; a wrong bit in the head; one in the media, which only reading shows; and a
    // fragment that was being written.
    let change = |index: usize, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = fs::read(path(index)).unwrap();
        change(&mut bytes);
        fs::write(path(index), bytes).unwrap();
    };
    change(0, &|bytes| bytes.truncate(20));
    change(1, &|bytes| bytes[40] ^= 1);
    change(2, &|bytes| *bytes.last_mut().unwrap() ^= 1);
    fs::write(folder.join("half.tmp"), "half").unwrap();
    fs::write(folder.join("README"), "not ours").unwrap();

    let opened = open(root.path());
    assert_eq!(starts(&opened), [12_000, 13_000]);
    let messages: Vec<_> = opened.damaged.iter().map(ToString::to_string).collect();
    assert!(
        messages[0].contains(path(0).to_str().unwrap()) && messages[0].contains("set aside"),
        "{messages:?}"
    );
    assert!(messages[1].contains("checksum of its head"), "{messages:?}");
    let error = opened.directory.read(fragments[2].0).unwrap_err();
    assert!(error.to_string().contains("checksum of its media"), "{error}");
    let mut names: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let name = |index: usize| fragments[index].0.file().to_string();
    let aside = |index: usize| format!("{}.damaged", name(index));
    assert_eq!(names, [aside(0), aside(1), aside(2), name(3), "README".to_owned(), "lock".to_owned()]);
}

/// They take room that the spool's size does not count.
#[test]
fn of_many_damaged_files_the_newest_eight_are_kept() {
    let root = tempfile::tempdir().unwrap();
    let opened = open(root.path());
    let (folder, mut opened) = (opened.directory.folder().to_owned(), Some(opened));
    // The first are found damaged while it runs, the next at a start, the last while it runs after that.
    for (run, at_start) in [(1, false), (2, true), (3, false)] {
        let fragments = spooled(run, 10, 20);
        let now = opened.take().unwrap_or_else(|| open(root.path()));
        for (key, fragment) in &fragments {
            now.directory.write(*key, fragment).unwrap();
            fs::write(folder.join(key.file().to_string()), "half").unwrap();
        }
        if at_start {
            drop(now);
            assert_eq!(open(root.path()).damaged.len(), 20);
        } else {
            for (key, _) in &fragments {
                assert!(now.directory.read(*key).is_err());
            }
        }
        let mut names: Vec<_> = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "lock")
            .collect();
        names.sort();
        let newest: Vec<_> =
            fragments[12..].iter().map(|(key, _)| format!("{}.damaged", key.file())).collect();
        assert_eq!(names, newest, "{run}");
    }
}

#[test]
fn what_another_version_wrote_stays() {
    let root = tempfile::tempdir().unwrap();
    let opened = open(root.path());
    let folder = opened.directory.folder().to_owned();
    let fragments = spooled(1, 10, 2);
    for (key, fragment) in &fragments {
        opened.directory.write(*key, fragment).unwrap();
    }
    drop(opened);
    let path = folder.join(fragments[0].0.file().to_string());
    let mut bytes = fs::read(&path).unwrap();
    // The version is behind the magic.
    bytes[8] = 99;
    fs::write(&path, &bytes).unwrap();
    for _ in 0..2 {
        let opened = open(root.path());
        assert_eq!((starts(&opened), opened.directory.run()), (vec![11_000], 2));
        let message = opened.damaged[0].to_string();
        assert!(message.contains(path.to_str().unwrap()) && message.contains("version 99"), "{message}");
        assert!(opened.directory.read(fragments[0].0).is_err());
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
}

#[test]
fn names_of_damaged_files_are_not_given_again() {
    let root = tempfile::tempdir().unwrap();
    let opened = open(root.path());
    let (key, fragment) = spooled(1, 10, 1).remove(0);
    opened.directory.write(key, &fragment).unwrap();
    let path = opened.directory.folder().join(key.file().to_string());
    drop(opened);
    fs::write(path, "half").unwrap();
    let opened = open(root.path());
    assert_eq!((opened.directory.run(), opened.damaged.len()), (2, 1));
    drop(opened);
    assert_eq!(open(root.path()).directory.run(), 2);
}

#[test]
fn two_cannot_have_it_and_other_streams_are_elsewhere() {
    let root = tempfile::tempdir().unwrap();
    let first = open(root.path());
    let error = Directory::open(root.path(), STREAM).unwrap_err();
    assert!(matches!(error, SpoolError::InUse(_)), "{error}");
    let other = Directory::open(root.path(), "eu-west-1/front-door").unwrap();
    assert_ne!(other.directory.folder(), first.directory.folder());
    let folder = first.directory.folder().to_owned();
    drop(first);
    drop(open(root.path()));
    fs::write(folder.join("lock"), "us-east-1/garden\n").unwrap();
    let error = Directory::open(root.path(), STREAM).unwrap_err();
    assert!(error.to_string().contains("us-east-1/garden"), "{error}");
}

#[test]
fn what_cannot_be_written_is_an_error_that_names_the_file() {
    let root = tempfile::tempdir().unwrap();
    let opened = open(root.path());
    fs::remove_dir_all(opened.directory.folder()).unwrap();
    let (key, fragment) = spooled(1, 10, 1).remove(0);
    let error = opened.directory.write(key, &fragment).unwrap_err().to_string();
    assert!(error.contains(&key.file().to_string()) && error.contains("No such file"), "{error}");
    assert!(opened.directory.read(key).is_err());
    let error = Directory::open(Path::new("/dev/null/spool"), STREAM).unwrap_err();
    assert!(error.to_string().contains("/dev/null/spool"), "{error}");
}
