//! What follows from tagged fragments: images in a folder that stands for S3, notifications for SNS.
#![allow(clippy::unwrap_used)]

mod support;

use std::{fs, path::Path, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use self::support::producer::{self, Session, element, now_ms, stream};
use self::support::{Kvs, call, start};

fn tag(name: &str, value: &str) -> Vec<u8> {
    let simple = [element(&[0x45, 0xA3], name.as_bytes()), element(&[0x44, 0x87], value.as_bytes())].concat();
    element(&[0x12, 0x54, 0xC3, 0x67], &element(&[0x73, 0x73], &element(&[0x67, 0xC8], &simple)))
}

/// Uploads these parts, and waits until all fragments are persisted; their numbers.
async fn upload(kvs: &Kvs, parts: &[Vec<u8>]) -> Vec<String> {
    let mut session = Session::open(&kvs.server, "door").await;
    session.send(&parts.concat()).await;
    session.finish().await;
    let mut numbers = Vec::new();
    while let Some(ack) = session.ack().await {
        if ack["EventType"] == "PERSISTED" {
            numbers.push(ack["FragmentNumber"].as_str().unwrap().to_owned());
        }
    }
    numbers
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

const TOPIC: &str = "arn:aws:sns:eu-west-1:000000000000:door";

async fn notify(kvs: &Kvs, status: &str) {
    let configuration = json!({"Status": status, "DestinationConfig": {"Uri": format!("sns://{TOPIC}")}});
    let body = json!({"StreamName": "door", "NotificationConfiguration": configuration});
    call(&kvs.server, "/updateNotificationConfiguration", body).await;
}

#[tokio::test]
async fn a_topic_is_told_of_tagged_fragments_by_file_and_by_http() {
    let subscriber = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/topic?x=1", subscriber.local_addr().unwrap());
    let kvs = start(|config| config.sns_url = Some(url.parse().unwrap())).await;
    let arn = stream(&kvs.server, "door", 1).await;
    notify(&kvs, "ENABLED").await;
    let at = now_ms() - 10_000;
    let numbers = upload(
        &kvs,
        &[
            producer::header(),
            producer::cluster(at),
            tag("AWS_KINESISVIDEO_NOTIFICATION", ""),
            tag("who", "dog"),
            producer::cluster(at + 1_000),
            tag("who", "nobody"),
            producer::cluster(at + 2_000),
        ],
    )
    .await;
    let file = kvs.data.path().join(format!("sns/{TOPIC}.jsonl"));
    let told = lines(&file);
    let [notification] = &told[..] else { panic!("{told:?}") };
    assert_eq!(
        (&notification["Type"], &notification["TopicArn"], &notification["Subject"]),
        (&json!("Notification"), &json!(TOPIC), &json!("Kinesis Video Streams Notification"))
    );
    let message: Value = serde_json::from_str(notification["Message"].as_str().unwrap()).unwrap();
    assert!(message["FragmentStartServerTimestamp"].as_u64().unwrap() >= at);
    assert_eq!(
        message,
        json!({
            "StreamArn": arn, "FragmentNumber": numbers[1], "FragmentStartProducerTimestamp": at + 1_000,
            "FragmentStartServerTimestamp": message["FragmentStartServerTimestamp"],
            "NotificationType": "PERSISTED", "NotificationPayload": {"who": "dog"},
        })
    );
    // the subscriber, which fails the first time
    for answer in ["500 Oops", "200 OK"] {
        let (mut socket, _) = subscriber.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(notification.to_string().as_bytes()) {
            assert!(
                socket.read_buf(&mut request).await.unwrap() > 0,
                "{}",
                String::from_utf8_lossy(&request)
            );
        }
        let head = String::from_utf8(request).unwrap().to_lowercase();
        assert!(head.starts_with("post /topic?x=1 http/1.1\r\n"), "{head}");
        for line in [
            "x-amz-sns-message-type: notification",
            &format!("x-amz-sns-topic-arn: {}", TOPIC.to_lowercase()),
        ] {
            assert!(head.contains(line), "{head}");
        }
        let answer = format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n");
        socket.write_all(answer.as_bytes()).await.unwrap();
    }
    // switched off, nothing more is told
    notify(&kvs, "DISABLED").await;
    let more = [producer::header(), tag("AWS_KINESISVIDEO_NOTIFICATION", ""), producer::cluster(at + 3_000)];
    upload(&kvs, &more).await;
    assert_eq!(lines(&file).len(), 1);
}

/// What the encoder says, as Matroska with a cluster for each second; `None` without ffmpeg.
fn recorded(at: u64) -> Option<(Vec<u8>, Vec<Vec<u8>>)> {
    let arguments = "-v error -f lavfi -i testsrc=size=160x120:rate=10:duration=2 -c:v libx264 -preset ultrafast -g 10 -bf 0 \
                     -f mp4 -movflags frag_keyframe+empty_moov+default_base_moof pipe:1";
    let output = std::process::Command::new("ffmpeg").args(arguments.split_whitespace()).output().ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (mut private, mut clusters) = (Vec::new(), Vec::new());
    let mut cursor = std::io::Cursor::new(&output.stdout[..]);
    use mp4_atom::{Any, DecodeMaybe, Encode};
    let mut sizes = Vec::new();
    while let Some(atom) = Any::decode_maybe(&mut cursor).unwrap() {
        match atom {
            Any::Moov(moov) => {
                let mp4_atom::Codec::Avc1(entry) = &moov.trak[0].mdia.minf.stbl.stsd.codecs[0] else {
                    panic!("no H.264")
                };
                entry.avcc.encode(&mut private).unwrap();
                // without the head of its box
                private.drain(..8);
            }
            Any::Moof(moof) => {
                let run = &moof.traf[0].trun[0];
                let default = moof.traf[0].tfhd.default_sample_size;
                sizes = run.entries.iter().map(|entry| entry.size.or(default).unwrap() as usize).collect();
            }
            Any::Mdat(mdat) => {
                let mut rest = &mdat.data[..];
                let start = at + 1_000 * clusters.len() as u64;
                let mut cluster = vec![0x1F, 0x43, 0xB6, 0x75, 0xFF];
                cluster.extend(element(&[0xE7], &start.to_be_bytes()));
                for (index, size) in sizes.drain(..).enumerate() {
                    let (frame, more) = rest.split_at(size);
                    let time = i16::try_from(index * 100).unwrap().to_be_bytes();
                    let head = [0x81, time[0], time[1], if index == 0 { 0x80 } else { 0 }];
                    cluster.extend(element(&[0xA3], &[&head[..], frame].concat()));
                    rest = more;
                }
                clusters.push(cluster);
            }
            _ => {}
        }
    }
    let track = [
        element(&[0xD7], &[1]),
        element(&[0x83], &[1]),
        element(&[0x86], b"V_MPEG4/ISO/AVC"),
        element(&[0x63, 0xA2], &private),
    ]
    .concat();
    let tracks = element(&[0x16, 0x54, 0xAE, 0x6B], &element(&[0xAE], &track));
    let header =
        [element(&[0x1A, 0x45, 0xDF, 0xA3], &[]), vec![0x18, 0x53, 0x80, 0x67, 0xFF], tracks].concat();
    Some((header, clusters))
}

#[tokio::test]
async fn images_of_tagged_fragments_are_objects_with_their_metadata() {
    let at = now_ms() - 10_000;
    let Some((header, clusters)) = recorded(at) else {
        assert!(std::env::var_os("KVS_INGEST_REQUIRE").is_none(), "ffmpeg is missing");
        return;
    };
    let kvs = start(|_| ()).await;
    stream(&kvs.server, "door", 1).await;
    let configuration = json!({
        "Status": "ENABLED", "ImageSelectorType": "PRODUCER_TIMESTAMP", "Format": "JPEG", "SamplingInterval": 700,
        "DestinationConfig": {"Uri": "s3://yard/pictures", "DestinationRegion": "eu-west-1"}, "HeightPixels": 60,
    });
    let body = json!({"StreamName": "door", "ImageGenerationConfiguration": configuration});
    call(&kvs.server, "/updateImageGenerationConfiguration", body).await;
    let image = || tag("AWS_KINESISVIDEO_IMAGE_GENERATION", "");
    let parts = [
        header.clone(),
        [image(), tag("AWS_KINESISVIDEO_IMAGE_PREFIX", "../cam"), tag("Who", "dog")].concat(),
        clusters[0].clone(),
        image(),
        clusters[1].clone(),
    ];
    let numbers = upload(&kvs, &parts).await;
    // 0, 700 and 1400 ms after the start
    let folder = kvs.data.path().join("s3/yard/pictures");
    let objects = || -> Vec<_> {
        let below = [folder.clone(), folder.join("%2E%2E")];
        let files = below.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten();
        let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        files.retain(|file| file.extension().is_some_and(|extension| extension == "jpg"));
        files.sort();
        files
    };
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while objects().len() < 3 {
        assert!(tokio::time::Instant::now() < deadline, "{:?}", objects());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut seen = Vec::new();
    for path in objects() {
        let picture = fs::read(&path).unwrap();
        assert!(picture.starts_with(&[0xFF, 0xD8]) && picture.ends_with(&[0xFF, 0xD9]));
        let head: Value =
            serde_json::from_slice(&fs::read(format!("{}.json", path.display())).unwrap()).unwrap();
        assert_eq!(
            (&head["Bucket"], &head["ContentType"], &head["ContentLength"]),
            (&json!("yard"), &json!("image/jpeg"), &json!(picture.len()))
        );
        let time = head["Metadata"]["aws_kinesisvideo_producer_timestamp"].as_str().unwrap();
        let key = head["Key"].as_str().unwrap();
        assert!(key.contains(&format!("000000000000_door_{time}_")), "{key}");
        let number = &head["Metadata"]["aws_kinesisvideo_fragment_number"];
        let prefixed = key.starts_with("pictures/../cam_000000000000_");
        seen.push((time.parse::<u64>().unwrap() - at, prefixed, numbers.iter().position(|n| n == number)));
        assert_eq!(head["Metadata"]["who"].as_str(), prefixed.then_some("dog"));
    }
    seen.sort_unstable();
    assert_eq!(seen, [(0, true, Some(0)), (700, true, Some(0)), (1_400, false, Some(1))]);
}
