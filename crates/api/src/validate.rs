//! The rules that a schema alone does not say, each with the path of its field.

use std::fmt;

use crate::spec::{AudioSpec, BufferingSpec, ChannelSpec, KvsIngestSpec, MediaSpec, StreamSpec, VideoSpec};

/// A field that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct FieldError {
    /// `spec.channel.name`
    pub path: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            // The document itself.
            return f.write_str(&self.message);
        }
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// All of them, as one text.
pub(crate) fn list(errors: &[FieldError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// The most that a stream keeps: ten years.
const MAX_RETENTION_HOURS: u32 = 87_600;

impl KvsIngestSpec {
    /// Checks every rule.
    ///
    /// # Errors
    /// All fields that break one.
    pub fn validate(&self) -> Result<(), Vec<FieldError>> {
        // Without `..`: a new field must not be forgotten here.
        let KvsIngestSpec {
            region,
            channel,
            stream,
            media,
            ice: _,
            buffering,
            role_arn,
            external_id,
            log_level: _,
        } = self;
        let mut errors = Errors(Vec::new());
        if !is_region(region) {
            errors.add("spec.region", format!("{region:?} is not a region such as eu-central-1"));
        }
        let ChannelSpec { name, arn } = channel;
        errors.name_or_arn("spec.channel", "channel", region, name.as_deref(), arn.as_deref());
        let StreamSpec { name, arn, create_if_missing, retention_hours } = stream;
        errors.name_or_arn("spec.stream", "stream", region, name.as_deref(), arn.as_deref());
        if *create_if_missing && name.is_none() && arn.is_some() {
            errors.add("spec.stream.createIfMissing", "a stream can only be created by name, not by arn");
        }
        if let Some(hours) = *retention_hours {
            errors.within("spec.stream.retentionHours", hours, 1, MAX_RETENTION_HOURS);
        }
        let MediaSpec { video: VideoSpec { enabled: video, start_bitrate_kbps }, audio } = media;
        let AudioSpec { enabled: audio, aac_bitrate_kbps } = audio;
        if !video && !audio {
            errors.add("spec.media", "video and audio are both disabled: nothing would be stored");
        }
        if let Some(rate) = *start_bitrate_kbps {
            errors.within("spec.media.video.startBitrateKbps", rate, 50, 20_000);
        }
        errors.within("spec.media.audio.aacBitrateKbps", *aac_bitrate_kbps, 16, 320);
        let BufferingSpec { memory_mib } = buffering;
        errors.within("spec.buffering.memoryMiB", *memory_mib, 16, 10_240);
        match role_arn {
            Some(arn) if !is_role(arn) => {
                errors.add("spec.roleArn", format!("{arn:?} is not arn:aws:iam::ACCOUNT:role/NAME"));
            }
            Some(_) if external_id.as_ref().is_some_and(|id| !is_external_id(id)) => {
                errors.add("spec.externalId", "it is not 2 to 1224 of a-z A-Z 0-9 _ + = , . @ : / -");
            }
            None if external_id.is_some() => {
                errors.add("spec.externalId", "it is used with roleArn only, which is not set");
            }
            _ => {}
        }
        if errors.0.is_empty() { Ok(()) } else { Err(errors.0) }
    }
}

struct Errors(Vec<FieldError>);

impl Errors {
    fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(FieldError { path: path.into(), message: message.into() });
    }

    fn within(&mut self, path: &str, value: u32, least: u32, most: u32) {
        if !(least..=most).contains(&value) {
            self.add(path, format!("{value} is not between {least} and {most}"));
        }
    }

    fn name_or_arn(&mut self, path: &str, kind: &str, region: &str, name: Option<&str>, arn: Option<&str>) {
        match (name, arn) {
            (None, None) => self.add(path, "exactly one of name, arn: neither is set"),
            (Some(_), Some(_)) => self.add(path, "exactly one of name, arn: both are set"),
            (Some(name), None) => {
                if !is_name(name) {
                    self.add(
                        format!("{path}.name"),
                        format!("{name:?} is not 1 to 256 of a-z A-Z 0-9 _ . -"),
                    );
                }
            }
            (None, Some(arn)) => match arn_region(arn, kind) {
                None => self.add(
                    format!("{path}.arn"),
                    format!("{arn:?} is not arn:aws:kinesisvideo:REGION:ACCOUNT:{kind}/NAME/TIME"),
                ),
                Some(found) if found != region => self.add(
                    format!("{path}.arn"),
                    format!("it is in region {found}, and spec.region is {region}"),
                ),
                Some(_) => {}
            },
        }
    }
}

fn is_name(text: &str) -> bool {
    (1..=256).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// `us-gov-west-1`: words of lower-case letters, and a number at the end.
fn is_region(text: &str) -> bool {
    let words: Vec<_> = text.split('-').collect();
    let Some((last, first)) = words.split_last() else { return false };
    first.len() >= 2
        && text.len() <= 32
        && first.iter().all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase()))
        && !last.is_empty()
        && last.bytes().all(|byte| byte.is_ascii_digit())
}

fn arn_region<'a>(arn: &'a str, kind: &str) -> Option<&'a str> {
    let parts: Vec<_> = arn.splitn(6, ':').collect();
    let ["arn", partition, "kinesisvideo", region, account, resource] = parts[..] else { return None };
    let resource: Vec<_> = resource.split('/').collect();
    let [found, name, time] = resource[..] else { return None };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let partition_ok = partition.starts_with("aws")
        && partition.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    let account_ok = account.len() == 12 && digits(account);
    (arn.len() <= 1024 && partition_ok && account_ok && found == kind && is_name(name) && digits(time))
        .then_some(region)
}

fn is_role(arn: &str) -> bool {
    let parts: Vec<_> = arn.splitn(6, ':').collect();
    matches!(parts[..], ["arn", partition, "iam", "", account, resource]
        if partition.starts_with("aws")
            && account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit())
            && resource.strip_prefix("role/").is_some_and(|name| !name.is_empty()))
}

/// STS API reference, AssumeRole.
fn is_external_id(id: &str) -> bool {
    (2..=1224).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use crate::{KvsIngestManifest, ManifestError};

    const GOOD: &str = "apiVersion: kvs-ingest.dev/v1alpha1
kind: KvsIngest
metadata: {name: front-door}
spec:
  region: ap-northeast-1
  channel: {name: front-door-camera}
  stream: {name: front-door, createIfMissing: true, retentionHours: 24}
";

    #[test]
    fn each_broken_rule_names_its_field() {
        let arn = "arn:aws:kinesisvideo:ap-northeast-1:111122223333:stream/s/0123456789012";
        for (from, to, path) in [
            ("ap-northeast-1", "tokyo", "spec.region"),
            ("{name: front-door-camera}", "{}", "spec.channel"),
            ("{name: front-door-camera}", &format!("{{name: a, arn: '{arn}'}}"), "spec.channel"),
            ("{name: front-door-camera}", "{name: 'a b'}", "spec.channel.name"),
            ("{name: front-door-camera}", &format!("{{arn: '{arn}'}}"), "spec.channel.arn"),
            ("name: front-door, create", &format!("arn: '{arn}', create"), "spec.stream.createIfMissing"),
            (
                "{name: front-door, createIfMissing: true, retentionHours: 24}",
                &format!("{{arn: '{}'}}", arn.replace("ap-northeast-1", "eu-west-1")),
                "spec.stream.arn",
            ),
            ("retentionHours: 24", "retentionHours: 0", "spec.stream.retentionHours"),
            (
                "  channel:",
                "  media: {video: {enabled: false}, audio: {enabled: false}}\n  channel:",
                "spec.media",
            ),
            (
                "  channel:",
                "  media: {audio: {aacBitrateKbps: 1}}\n  channel:",
                "spec.media.audio.aacBitrateKbps",
            ),
            (
                "  channel:",
                "  media: {video: {startBitrateKbps: 1}}\n  channel:",
                "spec.media.video.startBitrateKbps",
            ),
            ("  channel:", "  buffering: {memoryMiB: 1}\n  channel:", "spec.buffering.memoryMiB"),
            ("  channel:", "  roleArn: admin\n  channel:", "spec.roleArn"),
            ("  channel:", "  externalId: xyz\n  channel:", "spec.externalId"),
            (
                "  channel:",
                "  roleArn: 'arn:aws:iam::111122223333:role/r'\n  externalId: x\n  channel:",
                "spec.externalId",
            ),
        ] {
            let text = GOOD.replace(from, to);
            assert_ne!(text, GOOD, "{from}");
            let Err(ManifestError::Invalid(errors)) = KvsIngestManifest::from_yaml(&text) else {
                panic!("{text}")
            };
            assert_eq!(errors.iter().map(|error| error.path.as_str()).collect::<Vec<_>>(), [path], "{text}");
        }
    }
}
