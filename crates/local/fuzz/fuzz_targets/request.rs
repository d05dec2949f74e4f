#![no_main]
//! Any bytes as the body of a call: members are found or refused, and no ARN is read as another.

use kvs_local::{members::Members, model::Arn, page_token::PageTokens};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(arn) = text.parse::<Arn>()
    {
        assert_eq!(arn.to_string().parse(), Ok(arn));
    }
    let Ok(members) = Members::parse(data) else { return };
    for name in ["StreamARN", "MaxResults", "NextToken", "StartTimestamp", "Tags", "FragmentSelector"] {
        let _ = (members.string(name), members.integer(name, 1..=10), members.timestamp(name));
        let _ = (members.structures(name, 3), members.string_map(name, 3), members.strings(name, 3));
        if let Ok(Some(token)) = members.string(name) {
            assert!(PageTokens::default().redeem::<String>(&members, "listing", token).is_err());
        }
    }
});
