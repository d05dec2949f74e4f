//! `StartSelector` of GetMedia.

use super::{Archive, Start};
use crate::{error::ServiceError, members::Members};

const KINDS: [&str; 6] =
    ["NOW", "EARLIEST", "FRAGMENT_NUMBER", "SERVER_TIMESTAMP", "PRODUCER_TIMESTAMP", "CONTINUATION_TOKEN"];

/// Digits, in the length that numbers have here: they are compared as text.
fn fragment_number(members: &Members, member: &str) -> Result<Option<String>, ServiceError> {
    let number = members.text(member, 1..=128, |c| c.is_ascii_digit(), "[0-9]+")?;
    Ok(number.map(|number| format!("{number:0>47}")))
}

/// The fragment number after which GetMedia starts; `None` is before everything. It goes on in the order of arrival,
/// which is not that of the producer's times when a producer sends something again or late.
pub(super) fn start(
    archive: &Archive,
    stream: &str,
    members: &Members,
) -> Result<Option<String>, ServiceError> {
    let selector = members.structure("StartSelector")?;
    let selector = members.required("StartSelector", selector)?;
    let kind = selector.required("StartSelectorType", selector.one_of("StartSelectorType", &KINDS)?)?;
    let at = || selector.required("StartTimestamp", selector.timestamp("StartTimestamp")?);
    Ok(match kind {
        "NOW" => archive.number_before(stream, Start::Now),
        "EARLIEST" => None,
        "FRAGMENT_NUMBER" => {
            let number = fragment_number(&selector, "AfterFragmentNumber")?;
            Some(selector.required("AfterFragmentNumber", number)?)
        }
        "CONTINUATION_TOKEN" => {
            // It is the number of the fragment that it came with.
            let token = fragment_number(&selector, "ContinuationToken")?;
            Some(selector.required("ContinuationToken", token)?)
        }
        "SERVER_TIMESTAMP" => archive.number_before(stream, Start::Server(at()?)),
        _ => archive.number_before(stream, Start::Producer(at()?)),
    })
}
