//! [`Quotas`]: how often operations may be called, where `--quotas` holds callers to it.

use std::{collections::HashMap, time::Instant};

use parking_lot::Mutex;

use crate::{
    error::{ErrorKind, ServiceError},
    members::Members,
    model::{Arn, ArnKind, Scope},
    rate::Rate,
};

/// Calls a second of an account, and of one stream or channel (the developer guides' tables "Control plane API service
/// quotas"). Other operations have none that is told.
const TABLE: [(&str, u32, Option<u32>); 30] = [
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
    ("UpdateSignalingChannel", 50, Some(5)),
    ("UpdateStream", 50, Some(5)),
];

/// Calls a second of one stream or channel (the tables of media, archived media and signaling), whoever makes them.
const OF_RESOURCES: [(&str, u32); 6] = [
    ("GetDASHStreamingSessionURL", 25),
    ("GetHLSStreamingSessionURL", 25),
    ("GetIceServerConfig", 5),
    ("GetMedia", 5),
    ("ListFragments", 5),
    ("SendAlexaOfferToMaster", 5),
];

/// The operation's name and rates: of an account, and of one stream or channel.
fn rates(operation: &str) -> Option<(Operation, Option<u32>, Option<u32>)> {
    let row = TABLE.iter().find(|row| row.0 == operation);
    let row = row.map(|(name, of_account, of_resource)| (*name, Some(*of_account), *of_resource));
    let of_one = || OF_RESOURCES.iter().find(|row| row.0 == operation);
    row.or_else(|| of_one().map(|(name, rate)| (*name, None, Some(*rate))))
}

/// Accounts in their regions that are remembered, and streams and channels, each with each operation. Full: all are forgotten,
/// which lets a few calls more through. A caller may sign for any word as its region.
const MAX_ACCOUNTS: usize = 2_000;
const MAX_RESOURCES: usize = 20_000;

type Operation = &'static str;

#[derive(Debug, Default)]
struct Inner {
    /// Quotas are of an account and a region.
    accounts: HashMap<(Operation, Scope), Rate>,
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
        scope: &Scope,
        members: &Members,
        now: Instant,
    ) -> Result<(), ServiceError> {
        let Some((operation, of_account, of_resource)) = rates(operation) else { return Ok(()) };
        let mut inner = self.0.lock();
        if inner.accounts.len() >= MAX_ACCOUNTS {
            inner.accounts.clear();
        }
        let mut within = of_account.is_none_or(|of_account| {
            let account = inner.accounts.entry((operation, scope.clone()));
            account.or_insert_with(|| Rate::new(of_account)).take(now)
        });
        if let Some((limit, resource)) = of_resource.zip(resource(scope, members)) {
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
fn resource(scope: &Scope, members: &Members) -> Option<String> {
    let text = |member| members.string(member).ok().flatten();
    // an ARN is of the caller's account, or was refused
    let named = |kind: &str, region: &str, name: &str| format!("{}/{kind}/{region}/{name}", scope.account);
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
            kinds.into_iter().find_map(|(kind, member)| Some(named(kind, &scope.region, text(member)?)))
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
        let call = |members: &Members, now| {
            quotas.take("DescribeStream", &Scope::of_region("r-1"), members, now).is_ok()
        };
        let seen: Vec<_> = (0..6).map(|n| call(if n % 2 == 0 { &by_name } else { &by_arn }, now)).collect();
        assert_eq!(seen, [true, true, true, true, true, false]);
        assert!(call(&members(json!({"StreamName": "other"})), now));
        assert!(
            quotas.take("DescribeStream", &Scope::of_region("r-2"), &by_name, now).is_ok(),
            "another region's"
        );
        assert!(call(&by_name, now + Duration::from_secs(1)));
        let channel = members(
            json!({"channelArn": "arn:aws:kinesisvideo:r-1:000000000000:channel/door/1700000000000"}),
        );
        let scope = Scope::of_region("r-1");
        let joined: Vec<_> =
            (0..3).map(|_| quotas.take("JoinStorageSession", &scope, &channel, now).is_ok()).collect();
        assert_eq!(joined, [true, true, false], "the members of this service begin with a small letter");
        let refused = quotas.take("CreateStream", &scope, &by_name, now);
        assert!(refused.is_ok(), "another operation");
    }

    #[test]
    fn an_account_has_a_rate_of_its_own() {
        let (quotas, now) = (Quotas::default(), Instant::now());
        let made = (0..60).filter(|n| {
            quotas
                .take(
                    "CreateStream",
                    &Scope::of_region("r-1"),
                    &members(json!({"StreamName": format!("s{n}")})),
                    now,
                )
                .is_ok()
        });
        assert_eq!(made.count(), 50);
        assert!(
            (0..1000)
                .all(|_| quotas.take("PutMedia", &Scope::of_region("r-1"), &Members::default(), now).is_ok())
        );
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (quotas, mut now) = (Quotas::default(), Instant::now());
        for n in 0..MAX_RESOURCES + 10 {
            now += Duration::from_millis(4);
            quotas
                .take(
                    "DescribeStream",
                    &Scope::of_region("r-1"),
                    &members(json!({"StreamName": format!("s{n}")})),
                    now,
                )
                .unwrap();
        }
        for n in 0..MAX_ACCOUNTS + 10 {
            let scope = Scope::of_region(&format!("r-{n}"));
            quotas.take("CreateStream", &scope, &members(json!({"StreamName": "s"})), now).unwrap();
        }
        let inner = quotas.0.lock();
        assert!(inner.resources.len() <= MAX_RESOURCES && inner.accounts.len() <= MAX_ACCOUNTS);
    }

    #[test]
    fn each_row_is_an_operation() {
        let all = TABLE.iter().map(|row| row.0).chain(OF_RESOURCES.iter().map(|row| row.0));
        let mut seen = std::collections::HashSet::new();
        for name in all {
            assert!(crate::operations::is_one(name), "{name}");
            assert!(seen.insert(name), "{name} is there twice");
        }
    }

    #[test]
    fn a_stream_is_read_so_often_a_second_by_all_together() {
        let (quotas, now) = (Quotas::default(), Instant::now());
        let door = members(json!({"StreamName": "door"}));
        let list = |members: &Members, now| {
            quotas.take("ListFragments", &Scope::of_region("r-1"), members, now).is_ok()
        };
        assert_eq!((0..9).filter(|_| list(&door, now)).count(), 5);
        assert!(list(&members(json!({"StreamName": "yard"})), now));
        assert!(list(&door, now + Duration::from_secs(1)));
    }
}
