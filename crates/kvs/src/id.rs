//! Names and ARNs by the service's own patterns.

use std::fmt;
use std::str::FromStr;

/// A name or ARN that the service would refuse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {value:?} {reason}")]
pub struct InvalidId {
    /// What it should have been, `channel name`.
    pub what: &'static str,
    /// What was given.
    pub value: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

pub(crate) fn is_name(text: &str) -> bool {
    (1..=256).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// `arn:PARTITION:kinesisvideo:REGION:ACCOUNT:KIND/NAME/TIME`: region and name.
fn arn_parts<'a>(text: &'a str, kind: &str) -> Option<(&'a str, &'a str)> {
    let parts: Vec<_> = text.splitn(6, ':').collect();
    let ["arn", partition, "kinesisvideo", region, account, resource] = parts[..] else { return None };
    let words: Vec<_> = resource.split('/').collect();
    let [found, name, time] = words[..] else { return None };
    let lower = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (found == kind && is_name(name) && lower(partition) && lower(region) && digits(account) && digits(time))
        .then_some((region, name))
}

macro_rules! text_id {
    ($(#[$meta:meta])* $name:ident, $what:literal, $check:expr, $reason:literal) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// As it was given.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let check: fn(&str) -> bool = $check;
                if check(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(InvalidId { what: $what, value: text.to_owned(), reason: $reason })
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// Name of a signaling channel: 1 to 256 of `[a-zA-Z0-9_.-]`.
    ChannelName, "channel name", is_name, "is not 1 to 256 of a-z A-Z 0-9 _ . -"
);
text_id!(
    /// Name of a stream: 1 to 256 of `[a-zA-Z0-9_.-]`.
    StreamName, "stream name", is_name, "is not 1 to 256 of a-z A-Z 0-9 _ . -"
);
text_id!(
    /// `arn:aws:kinesisvideo:REGION:ACCOUNT:channel/NAME/TIME`.
    ChannelArn, "channel ARN", |text| arn_parts(text, "channel").is_some(),
    "is not arn:aws:kinesisvideo:REGION:ACCOUNT:channel/NAME/TIME"
);
text_id!(
    /// `arn:aws:kinesisvideo:REGION:ACCOUNT:stream/NAME/TIME`.
    StreamArn, "stream ARN", |text| arn_parts(text, "stream").is_some(),
    "is not arn:aws:kinesisvideo:REGION:ACCOUNT:stream/NAME/TIME"
);
text_id!(
    /// What a viewer calls itself on a channel: 1 to 256 of `[a-zA-Z0-9_.-]`, not beginning with `AWS_` in any case.
    ClientId, "client id", |text| is_name(text) && !text.to_ascii_uppercase().starts_with("AWS_"),
    "is not 1 to 256 of a-z A-Z 0-9 _ . - without AWS_ in front"
);

impl ChannelArn {
    /// The region in it.
    #[must_use]
    pub fn region(&self) -> &str {
        arn_parts(&self.0, "channel").map_or("", |(region, _)| region)
    }

    /// The channel's name in it.
    #[must_use]
    pub fn name(&self) -> &str {
        arn_parts(&self.0, "channel").map_or("", |(_, name)| name)
    }
}

impl StreamArn {
    /// The region in it.
    #[must_use]
    pub fn region(&self) -> &str {
        arn_parts(&self.0, "stream").map_or("", |(region, _)| region)
    }

    /// The stream's name in it.
    #[must_use]
    pub fn name(&self) -> &str {
        arn_parts(&self.0, "stream").map_or("", |(_, name)| name)
    }
}

impl ClientId {
    /// A fresh id for one peer connection, `BASE-xxxxxxxx`: masters refuse or ignore a second offer of an id that they
    /// know. What is not allowed in an id is replaced in `base`, and `base` is cut to what leaves room.
    #[must_use]
    pub fn generate(base: &str) -> Self {
        let mut base: String = base
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '-' })
            .take(200)
            .collect();
        if base.is_empty() || base.to_ascii_uppercase().starts_with("AWS_") {
            base.insert_str(0, "viewer-");
        }
        let id = uuid::Uuid::new_v4().simple().to_string();
        Self(format!("{base}-{}", &id[..8]))
    }
}

/// A channel as a user names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ChannelId {
    /// By name, in the context's region.
    Name(ChannelName),
    /// By ARN, whose region the context should have.
    Arn(ChannelArn),
}

impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChannelId::Name(name) => write!(f, "channel {name}"),
            ChannelId::Arn(arn) => write!(f, "channel {arn}"),
        }
    }
}

/// A stream as a user names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StreamId {
    /// By name, in the context's region.
    Name(StreamName),
    /// By ARN, whose region the context should have.
    Arn(StreamArn),
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StreamId::Name(name) => write!(f, "stream {name}"),
            StreamId::Arn(arn) => write!(f, "stream {arn}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_are_checked_part_by_part() {
        let arn: ChannelArn =
            "arn:aws:kinesisvideo:us-east-1:111122223333:channel/my-channel/0123456789012".parse().unwrap();
        assert_eq!((arn.region(), arn.name()), ("us-east-1", "my-channel"));
        for wrong in [
            "",
            "my-channel",
            "arn:aws:kinesisvideo:us-east-1:111122223333:stream/my-channel/0123456789012",
            "arn:aws:kinesisvideo:us-east-1:1111x:channel/my-channel/0123456789012",
            "arn:aws:kinesisvideo:us-east-1:111122223333:channel/my channel/0123456789012",
            "arn:aws:kinesisvideo:us-east-1:111122223333:channel/my-channel",
            "arn:aws:s3:us-east-1:111122223333:channel/my-channel/0123456789012",
        ] {
            let error = wrong.parse::<ChannelArn>().unwrap_err();
            assert_eq!((error.what, error.value.as_str()), ("channel ARN", wrong));
        }
    }

    #[test]
    fn generated_client_ids_are_valid_and_fresh() {
        for base in ["front-door", "", "AWS_x", "aws_", "ü/ é", &"x".repeat(300)] {
            let id = ClientId::generate(base);
            assert_eq!(id.as_str().parse(), Ok(id.clone()), "{id}");
            assert_ne!(id, ClientId::generate(base));
        }
    }
}
