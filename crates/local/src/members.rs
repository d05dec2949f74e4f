//! [`Members`]: the members of a rest-json request, read one by one so that each complaint names its member.

use serde_json::{Map, Value};

use crate::{
    error::{ErrorKind, ServiceError},
    model::Arn,
};

/// The members of a JSON object in a request. `null` counts as absent, unknown members are ignored, as the service does.
#[derive(Debug, Clone, Default)]
pub struct Members {
    path: String,
    map: Map<String, Value>,
}

impl Members {
    /// Parses a request body. An empty body is an object without members.
    ///
    /// # Errors
    /// `SerializationException` when it is not a JSON object.
    pub fn parse(body: &[u8]) -> Result<Self, ServiceError> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(map)) => Ok(Self { path: String::new(), map }),
            Ok(_) => {
                Err(ServiceError::new(ErrorKind::Serialization, "The request body must be a JSON object."))
            }
            Err(error) => Err(ServiceError::new(
                ErrorKind::Serialization,
                format!("The request body is not JSON: {error}"),
            )),
        }
    }

    fn value(&self, member: &str) -> Option<&Value> {
        self.map.get(member).filter(|value| !value.is_null())
    }

    /// The member's full name, for error messages: `FragmentSelector.TimestampRange`.
    pub fn name_of(&self, member: &str) -> String {
        if self.path.is_empty() { member.to_owned() } else { format!("{}.{member}", self.path) }
    }

    /// `InvalidArgumentException` about one of these members.
    pub fn invalid(&self, member: &str, why: impl std::fmt::Display) -> ServiceError {
        ServiceError::invalid(&self.name_of(member), why)
    }

    /// A member that must be there.
    ///
    /// # Errors
    /// `InvalidArgumentException` naming the member when `value` is `None`.
    pub fn required<T>(&self, member: &str, value: Option<T>) -> Result<T, ServiceError> {
        value.ok_or_else(|| self.invalid(member, "is required"))
    }

    /// The channels and streams that are named by ARN, also within structures. What is no ARN is refused by who reads it.
    pub(crate) fn arns(&self) -> impl Iterator<Item = Arn> {
        fn collect(map: &Map<String, Value>, found: &mut Vec<Arn>) {
            const NAMES: [&str; 3] = ["StreamARN", "ChannelARN", "ResourceARN"];
            for (name, value) in map {
                match value {
                    // the storage service spells them channelArn
                    Value::String(text) if NAMES.iter().any(|known| known.eq_ignore_ascii_case(name)) => {
                        found.extend(text.parse::<Arn>());
                    }
                    // names and values of the caller's own
                    Value::Object(inner) if name != "Tags" => collect(inner, found),
                    _ => {}
                }
            }
        }
        let mut found = Vec::new();
        collect(&self.map, &mut found);
        found.into_iter()
    }

    /// A string, if present.
    ///
    /// # Errors
    /// `InvalidArgumentException` when it is of another type.
    pub fn string(&self, member: &str) -> Result<Option<&str>, ServiceError> {
        match self.value(member) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.invalid(member, "must be a string")),
        }
    }

    /// A boolean, if present.
    ///
    /// # Errors
    /// `InvalidArgumentException` when it is of another type.
    pub fn flag(&self, member: &str) -> Result<Option<bool>, ServiceError> {
        let Some(value) = self.value(member) else { return Ok(None) };
        value.as_bool().map(Some).ok_or_else(|| self.invalid(member, "must be true or false"))
    }

    /// A string whose length in characters must lie in `length`, and whose characters must all be `allowed`.
    ///
    /// # Errors
    /// `InvalidArgumentException` naming the member and its rule.
    pub fn text(
        &self,
        member: &str,
        length: std::ops::RangeInclusive<usize>,
        allowed: fn(char) -> bool,
        pattern: &str,
    ) -> Result<Option<&str>, ServiceError> {
        let Some(text) = self.string(member)? else { return Ok(None) };
        if !length.contains(&text.chars().count()) {
            return Err(self.invalid(
                member,
                format_args!("must be {} to {} characters long", length.start(), length.end()),
            ));
        }
        if !text.chars().all(allowed) {
            return Err(self.invalid(member, format_args!("must match {pattern}")));
        }
        Ok(Some(text))
    }

    /// An integer within `range`, if present.
    ///
    /// # Errors
    /// `InvalidArgumentException` when it is not an integer or out of range.
    pub fn integer(
        &self,
        member: &str,
        range: std::ops::RangeInclusive<i64>,
    ) -> Result<Option<i64>, ServiceError> {
        let Some(value) = self.value(member) else { return Ok(None) };
        let number = value.as_i64().ok_or_else(|| self.invalid(member, "must be an integer"))?;
        if range.contains(&number) {
            Ok(Some(number))
        } else {
            Err(self.invalid(member, format_args!("must be from {} to {}", range.start(), range.end())))
        }
    }

    /// A finite number, if present.
    ///
    /// # Errors
    /// `InvalidArgumentException` when it is of another type.
    fn number(&self, member: &str) -> Result<Option<f64>, ServiceError> {
        let Some(value) = self.value(member) else { return Ok(None) };
        value
            .as_f64()
            .filter(|n| n.is_finite())
            .map(Some)
            .ok_or_else(|| self.invalid(member, "must be a number"))
    }

    /// Milliseconds since 1970, if present; a time before that is 1970. On the wire they are seconds with a fraction.
    ///
    /// # Errors
    /// `InvalidArgumentException` when it is of another type.
    pub fn timestamp(&self, member: &str) -> Result<Option<u64>, ServiceError> {
        Ok(self.number(member)?.map(|seconds| (seconds * 1000.0).round().max(0.0) as u64))
    }

    /// One of the words of an enumeration, if present.
    ///
    /// # Errors
    /// `InvalidArgumentException` listing the words when it is none of them.
    pub fn one_of(&self, member: &str, words: &[&'static str]) -> Result<Option<&'static str>, ServiceError> {
        let Some(text) = self.string(member)? else { return Ok(None) };
        let word = words.iter().find(|word| **word == text);
        word.copied()
            .map(Some)
            .ok_or_else(|| self.invalid(member, format_args!("must be one of {}", words.join(", "))))
    }

    /// A structure that must be there.
    ///
    /// # Errors
    /// `InvalidArgumentException` when it is not, or of another type.
    pub fn needed(&self, member: &str) -> Result<Members, ServiceError> {
        self.required(member, self.structure(member)?)
    }

    /// One of the words of an enumeration, which must be there.
    ///
    /// # Errors
    /// `InvalidArgumentException` listing the words when it is none of them.
    pub fn word(&self, member: &str, words: &[&'static str]) -> Result<&'static str, ServiceError> {
        self.required(member, self.one_of(member, words)?)
    }

    /// A structure, if present.
    ///
    /// # Errors
    /// `InvalidArgumentException` when it is of another type.
    pub fn structure(&self, member: &str) -> Result<Option<Members>, ServiceError> {
        match self.value(member) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(Members { path: self.name_of(member), map: map.clone() })),
            Some(_) => Err(self.invalid(member, "must be an object")),
        }
    }

    /// A list of structures with at most `limit` items, if present.
    ///
    /// # Errors
    /// `InvalidArgumentException` when it is of another type or too long.
    pub fn structures(&self, member: &str, limit: usize) -> Result<Option<Vec<Members>>, ServiceError> {
        let Some(items) = self.list(member, limit)? else { return Ok(None) };
        items
            .iter()
            .enumerate()
            .map(|(index, item)| match item {
                Value::Object(map) => {
                    Ok(Members { path: format!("{}[{index}]", self.name_of(member)), map: map.clone() })
                }
                _ => Err(self.invalid(member, "must be a list of objects")),
            })
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// A list of strings with at most `limit` items, if present.
    ///
    /// # Errors
    /// `InvalidArgumentException` when it is of another type or too long.
    pub fn strings(&self, member: &str, limit: usize) -> Result<Option<Vec<&str>>, ServiceError> {
        let Some(items) = self.list(member, limit)? else { return Ok(None) };
        items
            .iter()
            .map(|item| item.as_str().ok_or_else(|| self.invalid(member, "must be a list of strings")))
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// A map of strings with at most `limit` entries, if present.
    ///
    /// # Errors
    /// `InvalidArgumentException` when it is of another type or too long.
    pub fn string_map(&self, member: &str, limit: usize) -> Result<Option<Vec<(&str, &str)>>, ServiceError> {
        let Some(value) = self.value(member) else { return Ok(None) };
        let map = value.as_object().ok_or_else(|| self.invalid(member, "must be an object"))?;
        if map.len() > limit {
            return Err(self.invalid(member, format_args!("must have at most {limit} entries")));
        }
        map.iter()
            .map(|(key, value)| match value.as_str() {
                Some(value) => Ok((key.as_str(), value)),
                None => Err(self.invalid(member, format_args!("the value of {key:?} must be a string"))),
            })
            .collect::<Result<_, _>>()
            .map(Some)
    }

    fn list(&self, member: &str, limit: usize) -> Result<Option<&Vec<Value>>, ServiceError> {
        match self.value(member) {
            None => Ok(None),
            Some(Value::Array(items)) if items.len() <= limit => Ok(Some(items)),
            Some(Value::Array(_)) => {
                Err(self.invalid(member, format_args!("must have at most {limit} items")))
            }
            Some(_) => Err(self.invalid(member, "must be a list")),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn complaints_name_the_member() {
        let members = Members::parse(br#"{"A":{"B":"x"},"N":7,"L":["a",1],"Z":null}"#).unwrap();
        assert_eq!(members.string("N").unwrap_err().message, "N: must be a string");
        assert_eq!(members.integer("N", 1..=5).unwrap_err().message, "N: must be from 1 to 5");
        let inner = members.structure("A").unwrap().unwrap();
        assert_eq!(inner.integer("B", 1..=5).unwrap_err().message, "A.B: must be an integer");
        assert_eq!(inner.one_of("B", &["y", "z"]).unwrap_err().message, "A.B: must be one of y, z");
        assert!(members.strings("L", 9).is_err());
        assert!(members.strings("L", 1).unwrap_err().message.contains("at most 1"));
        assert_eq!(members.string("Z").unwrap(), None);
        assert_eq!(Members::parse(b"[]").unwrap_err().kind, ErrorKind::Serialization);
        assert_eq!(Members::parse(b"{").unwrap_err().kind, ErrorKind::Serialization);
        assert!(Members::parse(b" \n").is_ok());
    }
}
