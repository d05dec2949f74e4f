//! [`Arn`] of a channel or a stream.

use std::{fmt, str::FromStr};

use crate::names::is_name;

/// The account of every key that is not said to be of another. Twelve digits, because clients count them.
pub const ACCOUNT: &str = "000000000000";

/// Whether this may be an account.
pub fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// What an ARN names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArnKind {
    /// `channel`: a signaling channel.
    Channel,
    /// `stream`: a stream of media.
    Stream,
}

/// `arn:aws:kinesisvideo:<region>:<account>:channel|stream/<name>/<13-digit epoch ms of creation>`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arn {
    /// What it names.
    pub kind: ArnKind,
    /// The AWS region that it belongs to.
    pub region: String,
    /// The 12-digit account.
    pub account: String,
    /// The resource's name.
    pub name: String,
    /// Creation time in milliseconds since 1970.
    pub created_ms: u64,
}

impl fmt::Display for Arn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.kind == ArnKind::Channel { "channel" } else { "stream" };
        let Self { region, account, name, created_ms, .. } = self;
        write!(f, "arn:aws:kinesisvideo:{region}:{account}:{kind}/{name}/{created_ms:013}")
    }
}

impl FromStr for Arn {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const RULE: &str =
            "must be an ARN like arn:aws:kinesisvideo:us-east-1:000000000000:channel/name/1700000000000";
        let parts: Vec<&str> = text.split(':').collect();
        let ["arn", partition, "kinesisvideo", region, account, resource] = parts[..] else {
            return Err(RULE);
        };
        let parts: Vec<&str> = resource.split('/').collect();
        let [kind, name, created] = parts[..] else { return Err(RULE) };
        let kind = match kind {
            "channel" => ArnKind::Channel,
            "stream" => ArnKind::Stream,
            _ => return Err(RULE),
        };
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let words = |text: &str| {
            let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            !text.is_empty() && text.bytes().all(allowed)
        };
        if text.len() > 1024
            || !words(partition)
            || !words(region)
            || !digits(account)
            || !digits(created)
            || !is_name(name)
        {
            return Err(RULE);
        }
        let created_ms = created.parse().map_err(|_| RULE)?;
        Ok(Self {
            kind,
            region: region.to_owned(),
            account: account.to_owned(),
            name: name.to_owned(),
            created_ms,
        })
    }
}
