//! [`Quotas`]: how often the control plane may be called, where `--quotas` holds callers to it.

use std::{collections::HashMap, time::Instant};

use parking_lot::Mutex;

use crate::{
    error::{ErrorKind, ServiceError},
    members::Members,
    model::{Arn, ArnKind},
    rate::Rate,
};

/// Calls a second of an account, and of one stream or channel (the developer guides' tables "Control plane API service
/// quotas"). Other operations have none that is told.
const TABLE: [(&str, u32, Option<u32>); 29] = [
    ("CreateSignalingChannel", 50, None),
    ("CreateStream", 50, None),
    ("DeleteEdgeConfiguration", 10, Some(1)),
    ("DeleteSignalingChannel", 50, Some(5)),
    ("DeleteStream", 50, Some(5)),
    ("DescribeEdgeConfiguration", 50, Some(5)),
    ("DescribeImageGenerationConfiguration", 50, Some(5)),
    ("DescribeMappedResourceConfiguration", 50, Some(5)),
    ("DescribeMediaStorageConfiguration", 50, Some(5)),
    ("DescribeNotificationConfiguration", 50, Some(5)),
    ("DescribeSignalingChannel", 300, Some(5)),
    ("DescribeStream", 300, Some(5)),
    ("GetDataEndpoint", 300, Some(5)),
    ("GetSignalingChannelEndpoint", 300, None),
    ("JoinStorageSession", 50, Some(2)),
    ("JoinStorageSessionAsViewer", 50, Some(2)),
    ("ListEdgeAgentConfigurations", 50, None),
    ("ListSignalingChannels", 50, None),
    ("ListStreams", 50, None),
    ("ListTagsForResource", 50, Some(5)),
    ("ListTagsForStream", 50, Some(5)),
    ("StartEdgeConfigurationUpdate", 10, Some(1)),
    ("TagResource", 50, Some(5)),
    ("TagStream", 50, Some(5)),
    ("UntagResource", 50, Some(5)),
    ("UntagStream", 50, Some(5)),
    ("UpdateDataRetention", 50, Some(5)),
    ("UpdateMediaStorageConfiguration", 10, Some(5)),
    ("UpdateStream", 50, Some(5)),
];

/// Streams and channels that are remembered, each with each operation. Full: all are forgotten, which lets a few calls more
/// through.
const MAX_RESOURCES: usize = 20_000;

type Operation = &'static str;

#[derive(Debug, Default)]
struct Inner {
    /// By region: quotas are of a region.
    accounts: HashMap<(Operation, String), Rate>,
    resources: HashMap<(Operation, String), Rate>,
}

/// What was called in the last second.
#[derive(Debug, Default)]
pub(crate) struct Quotas(Mutex<Inner>);

impl Quotas {
    /// Counts a call.
    ///
    /// # Errors
    /// `ClientLimitExceededException`: it is one too many.
    pub(crate) fn take(
        &self,
        operation: &str,
        region: &str,
        members: &Members,
        now: Instant,
    ) -> Result<(), ServiceError> {
        let Some((operation, of_account, of_resource)) = TABLE.iter().find(|row| row.0 == operation).copied()
        else {
            return Ok(());
        };
        let mut inner = self.0.lock();
        let account = inner.accounts.entry((operation, region.to_owned()));
        let mut within = account.or_insert_with(|| Rate::new(of_account)).take(now);
        if let Some((limit, resource)) = of_resource.zip(resource(region, members)) {
            if inner.resources.len() >= MAX_RESOURCES {
                inner.resources.clear();
            }
            let rate = inner.resources.entry((operation, resource)).or_insert_with(|| Rate::new(limit));
            within = rate.take(now) && within;
        }
        match within {
            true => Ok(()),
            false => Err(ServiceError::new(
                ErrorKind::ClientLimitExceeded,
                format!("Rate exceeded: {operation} (--quotas)."),
            )),
        }
    }
}

/// What a call is about, however it names it.
fn resource(region: &str, members: &Members) -> Option<String> {
    let text = |member| members.string(member).ok().flatten();
    let named = |kind: &str, region: &str, name: &str| format!("{kind}/{region}/{name}");
    let arn = ["StreamARN", "ChannelARN", "channelArn", "ResourceARN"].into_iter().find_map(text);
    match arn.map(str::parse::<Arn>) {
        Some(Ok(arn)) => {
            let kind = if arn.kind == ArnKind::Stream { "stream" } else { "channel" };
            Some(named(kind, &arn.region, &arn.name))
        }
        // it is refused
        Some(Err(_)) => None,
        None => {
            let kinds = [("stream", "StreamName"), ("channel", "ChannelName")];
            kinds.into_iter().find_map(|(kind, member)| Some(named(kind, region, text(member)?)))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn members(value: serde_json::Value) -> Members {
        Members::parse(value.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn a_stream_is_described_five_times_a_second_by_whatever_name() {
        let (quotas, now) = (Quotas::default(), Instant::now());
        let by_name = members(json!({"StreamName": "door"}));
        let by_arn =
            members(json!({"StreamARN": "arn:aws:kinesisvideo:r-1:000000000000:stream/door/1700000000000"}));
        let call = |members: &Members, now| quotas.take("DescribeStream", "r-1", members, now).is_ok();
        let seen: Vec<_> = (0..6).map(|n| call(if n % 2 == 0 { &by_name } else { &by_arn }, now)).collect();
        assert_eq!(seen, [true, true, true, true, true, false]);
        assert!(call(&members(json!({"StreamName": "other"})), now));
        assert!(quotas.take("DescribeStream", "r-2", &by_name, now).is_ok(), "another region's");
        assert!(call(&by_name, now + Duration::from_secs(1)));
        let channel = members(
            json!({"channelArn": "arn:aws:kinesisvideo:r-1:000000000000:channel/door/1700000000000"}),
        );
        let joined: Vec<_> =
            (0..3).map(|_| quotas.take("JoinStorageSession", "r-1", &channel, now).is_ok()).collect();
        assert_eq!(joined, [true, true, false], "the members of this service begin with a small letter");
        let refused = quotas.take("CreateStream", "r-1", &by_name, now);
        assert!(refused.is_ok(), "another operation");
    }

    #[test]
    fn an_account_has_a_rate_of_its_own() {
        let (quotas, now) = (Quotas::default(), Instant::now());
        let made = (0..60).filter(|n| {
            quotas.take("CreateStream", "r-1", &members(json!({"StreamName": format!("s{n}")})), now).is_ok()
        });
        assert_eq!(made.count(), 50);
        assert!((0..1000).all(|_| quotas.take("PutMedia", "r-1", &Members::default(), now).is_ok()));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (quotas, mut now) = (Quotas::default(), Instant::now());
        for n in 0..MAX_RESOURCES + 10 {
            now += Duration::from_millis(4);
            quotas
                .take("DescribeStream", "r-1", &members(json!({"StreamName": format!("s{n}")})), now)
                .unwrap();
        }
        assert!(quotas.0.lock().resources.len() <= MAX_RESOURCES);
    }

    #[test]
    fn each_row_is_an_operation() {
        for (name, ..) in TABLE {
            assert!(crate::operations::is_one(name), "{name}");
        }
    }
}
