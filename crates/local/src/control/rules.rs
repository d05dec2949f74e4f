//! The rules of members that several operations share (the service model's patterns and lengths).

use std::collections::BTreeMap;

use crate::{
    error::{ErrorKind, ServiceError},
    members::Members,
    model::{Arn, ArnKind, Scope},
    names::{NAME_PATTERN, name_char},
    page_token::{PageTokens, next_token},
};

const MAX_TAGS: usize = 50;

/// `ConfigurationStatus`
pub(super) const STATUSES: [&str; 2] = ["ENABLED", "DISABLED"];

fn tag_char(c: char) -> bool {
    // \p{L}\p{Z}\p{N} and these signs; blanks that are control characters, a tab or a new line, are not in \p{Z}
    c.is_alphanumeric()
        || (c.is_whitespace() && !c.is_control())
        || matches!(c, '_' | '.' | ':' | '/' | '=' | '+' | '-' | '@')
}

pub(super) fn name<'a>(m: &'a Members, member: &str) -> Result<Option<&'a str>, ServiceError> {
    m.text(member, 1..=256, name_char, NAME_PATTERN)
}

pub(super) fn device_name(m: &Members) -> Result<Option<&str>, ServiceError> {
    m.text("DeviceName", 1..=128, name_char, NAME_PATTERN)
}

pub(super) fn arn(m: &Members, member: &str, kind: ArnKind) -> Result<Option<Arn>, ServiceError> {
    let Some(text) = m.string(member)? else { return Ok(None) };
    let arn: Arn = text.parse().map_err(|why| m.invalid(member, why))?;
    if arn.kind == kind {
        return Ok(Some(arn));
    }
    Err(m.invalid(
        member,
        if kind == ArnKind::Channel { "must be a channel's ARN" } else { "must be a stream's ARN" },
    ))
}

pub(super) fn version<'a>(m: &'a Members, member: &str) -> Result<Option<&'a str>, ServiceError> {
    m.text(member, 1..=64, |c| c.is_ascii_alphanumeric(), "[a-zA-Z0-9]+")
}

/// `StreamStorageConfiguration`, if present.
pub(super) fn storage_tier(m: &Members) -> Result<Option<&'static str>, ServiceError> {
    let Some(storage) = m.structure("StreamStorageConfiguration")? else { return Ok(None) };
    storage.word("DefaultStorageTier", &["HOT", "WARM"]).map(Some)
}

/// Complains unless the caller's version, if any, is the current one.
pub(super) fn check_version(given: Option<&str>, current: &str) -> Result<(), ServiceError> {
    match given {
        Some(given) if given != current => Err(ServiceError::new(
            ErrorKind::VersionMismatch,
            "CurrentVersion is not the current version; ask for it with a describe call.",
        )),
        _ => Ok(()),
    }
}

fn check_tag_key(m: &Members, member: &str, key: &str) -> Result<(), ServiceError> {
    if !(1..=128).contains(&key.chars().count()) || !key.chars().all(tag_char) {
        return Err(m.invalid(
            member,
            format_args!("the key {key:?} must be 1 to 128 letters, digits, blanks or _.:/=+-@"),
        ));
    }
    Ok(())
}

fn check_tag(m: &Members, member: &str, key: &str, value: &str) -> Result<(), ServiceError> {
    check_tag_key(m, member, key)?;
    // "Tagging your AWS resources": system tags, in any case of letters
    if key.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("aws:")) {
        return Err(
            m.invalid(member, format_args!("the key {key:?} must not begin with aws:, which is reserved"))
        );
    }
    if value.chars().count() > 256 || !value.chars().all(tag_char) {
        return Err(m.invalid(
            member,
            format_args!("the value of {key:?} must be at most 256 letters, digits, blanks or _.:/=+-@"),
        ));
    }
    Ok(())
}

/// Tags as a list of `{Key, Value}`, up to 50.
pub(super) fn tag_list(m: &Members) -> Result<Option<BTreeMap<String, String>>, ServiceError> {
    let Some(items) = m.structures("Tags", MAX_TAGS)? else { return Ok(None) };
    let mut tags = BTreeMap::new();
    for item in &items {
        let key = item.required("Key", item.string("Key")?)?;
        let value = item.required("Value", item.string("Value")?)?;
        check_tag(m, "Tags", key, value)?;
        tags.insert(key.to_owned(), value.to_owned());
    }
    Ok(Some(tags))
}

/// Tags as a map of 1 to 50.
pub(super) fn tag_map(m: &Members) -> Result<Option<BTreeMap<String, String>>, ServiceError> {
    let Some(items) = m.string_map("Tags", MAX_TAGS)? else { return Ok(None) };
    check_any_tag(m, &items)?;
    for (key, value) in &items {
        check_tag(m, "Tags", key, value)?;
    }
    Ok(Some(items.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()))
}

/// Complains about `Tags` without a tag.
pub(super) fn check_any_tag<T>(m: &Members, tags: impl IntoIterator<Item = T>) -> Result<(), ServiceError> {
    match tags.into_iter().next() {
        Some(_) => Ok(()),
        None => Err(m.invalid("Tags", "must have at least one tag")),
    }
}

/// The keys to remove, 1 to 50.
pub(super) fn tag_keys(m: &Members) -> Result<Vec<String>, ServiceError> {
    let keys = m.required("TagKeyList", m.strings("TagKeyList", MAX_TAGS)?)?;
    if keys.is_empty() {
        return Err(m.invalid("TagKeyList", "must have at least one key"));
    }
    for (index, key) in keys.iter().enumerate() {
        check_tag_key(m, &format!("TagKeyList[{index}]"), key)?;
    }
    Ok(keys.into_iter().map(str::to_owned).collect())
}

pub(super) fn check_tag_count(tags: &BTreeMap<String, String>) -> Result<(), ServiceError> {
    if tags.len() <= MAX_TAGS {
        return Ok(());
    }
    Err(ServiceError::new(
        ErrorKind::TagsPerResourceExceededLimit,
        format!("A resource can have at most {MAX_TAGS} tags."),
    ))
}

/// `MaxResults`, `NextToken` and the name condition of a list call.
pub(super) struct Page<'a> {
    limit: usize,
    after: Option<String>,
    prefix: String,
    tokens: &'a PageTokens,
    /// What is listed; a token is of one listing.
    listing: String,
}

impl<'a> Page<'a> {
    pub(super) fn read(
        tokens: &'a PageTokens,
        scope: &Scope,
        m: &Members,
        condition: &str,
    ) -> Result<Self, ServiceError> {
        let limit = m.integer("MaxResults", 1..=10_000)?.unwrap_or(10_000);
        let mut prefix = String::new();
        if let Some(condition) = m.structure(condition)? {
            condition.one_of("ComparisonOperator", &["BEGINS_WITH"])?;
            prefix = name(&condition, "ComparisonValue")?.unwrap_or("").to_owned();
        }
        let listing = format!("{condition} {scope} {prefix}");
        // the token holds the last name of the page before
        let after = next_token(m)?.map(|token| tokens.redeem(m, &listing, token)).transpose()?;
        Ok(Self { limit: usize::try_from(limit).unwrap_or(1), after, prefix, tokens, listing })
    }

    /// Cuts a page from items in the order of their names: the page, and the token of the next.
    pub(super) fn cut<'n, T>(
        &self,
        items: impl Iterator<Item = (&'n str, T)>,
    ) -> Result<(Vec<T>, Option<String>), ServiceError> {
        let mut rest = items
            .filter(|(name, _)| name.starts_with(&self.prefix))
            .skip_while(|(name, _)| self.after.as_deref().is_some_and(|after| *name <= after))
            .peekable();
        let (mut page, mut last) = (Vec::new(), "");
        while page.len() < self.limit
            && let Some((name, item)) = rest.next()
        {
            page.push(item);
            last = name;
        }
        let token = rest.peek().map(|_| self.tokens.issue(&self.listing, &last)).transpose()?;
        Ok((page, token))
    }
}
