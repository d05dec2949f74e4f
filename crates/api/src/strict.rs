//! Reads a document into a type, and refuses fields that the type does not have.
//!
//! `#[serde(deny_unknown_fields)]` would do half of it: it stops at the first mistake, knows no path, and would make an
//! operator stumble over an object that a newer release has stored. This deserializer wraps a JSON value instead,
//! remembers where it is, and learns a type's fields from `deserialize_struct`.
//!
//! A field whose value is `null` counts as not set, as it does in Kubernetes.

use std::cell::RefCell;
use std::fmt;

use serde::de::value::StringDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, Expected, IntoDeserializer, Unexpected,
};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::validate::FieldError;

/// Reads `value`, whose own path is `path`; finds every unknown field, and the first that cannot be read.
pub(crate) fn from_value<T: DeserializeOwned>(value: Value, path: &str) -> Result<T, Vec<FieldError>> {
    let unknown = RefCell::new(Vec::new());
    let result = T::deserialize(Node { value, path: path.to_owned(), unknown: &unknown });
    let mut errors = unknown.into_inner();
    match result {
        Ok(value) if errors.is_empty() => Ok(value),
        Ok(_) => Err(errors),
        Err(error) => {
            errors.push(error.into_field_error(path));
            Err(errors)
        }
    }
}

struct Node<'a> {
    value: Value,
    path: String,
    unknown: &'a RefCell<Vec<FieldError>>,
}

/// What serde's visitors complain about, until a node adds where.
#[derive(Debug)]
struct Error {
    /// Known once the error has passed the node in which it arose.
    path: Option<String>,
    /// The missing field below `path`.
    field: Option<&'static str>,
    message: String,
}

impl Error {
    fn at(mut self, path: &str) -> Self {
        if self.path.is_none() {
            self.path = Some(match self.field {
                Some(field) => join(path, field),
                None => path.to_owned(),
            });
        }
        self
    }

    fn into_field_error(self, root: &str) -> FieldError {
        let Self { path, message, .. } = self.at(root);
        FieldError { path: path.unwrap_or_default(), message }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { path: None, field: None, message: message.to_string() }
    }

    fn missing_field(field: &'static str) -> Self {
        Self { path: None, field: Some(field), message: "is required".to_owned() }
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::custom(format!("`{}` is not known here; {}", clip(variant), hint(variant, expected)))
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let quote = match unexpected {
            Unexpected::Bool(_) | Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_)
                if expected.to_string().contains("string") =>
            {
                "; put it in quotes"
            }
            _ => "",
        };
        Self::custom(format!("expected {expected}, found {unexpected}{quote}"))
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::custom(format!("expected {expected}, found {unexpected}"))
    }
}

impl Node<'_> {
    fn child(&self, value: Value, path: String) -> Node<'_> {
        Node { value, path, unknown: self.unknown }
    }

    fn unexpected(&self) -> Unexpected<'_> {
        match &self.value {
            Value::Null => Unexpected::Unit,
            Value::Bool(value) => Unexpected::Bool(*value),
            Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(value), ..) => Unexpected::Unsigned(value),
                (_, Some(value), _) => Unexpected::Signed(value),
                (_, _, value) => Unexpected::Float(value.unwrap_or(f64::NAN)),
            },
            Value::String(text) => Unexpected::Str(text),
            Value::Array(_) => Unexpected::Other("a list"),
            Value::Object(_) => Unexpected::Other("a map"),
        }
    }
}

impl<'de> Deserializer<'de> for Node<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        let path = self.path.clone();
        match std::mem::take(&mut self.value) {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(value),
            Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(value), ..) => visitor.visit_u64(value),
                (_, Some(value), _) => visitor.visit_i64(value),
                (_, _, value) => visitor.visit_f64(value.unwrap_or(f64::NAN)),
            },
            Value::String(text) => visitor.visit_string(text),
            Value::Array(items) => {
                visitor.visit_seq(Items { node: &self, items: items.into_iter().enumerate() })
            }
            Value::Object(map) => visitor.visit_map(Fields::new(&self, map)),
        }
        .map_err(|error| error.at(&path))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        mut self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let map = match &mut self.value {
            Value::Object(map) => std::mem::take(map),
            _ => {
                let error: Error = de::Error::custom(format!("expected a map, found {}", self.unexpected()));
                return Err(error.at(&self.path));
            }
        };
        let (known, unknown): (Map<_, _>, Map<_, _>) =
            map.into_iter().partition(|(key, _)| fields.contains(&key.as_str()));
        for key in unknown.keys() {
            self.unknown.borrow_mut().push(FieldError {
                path: join(&self.path, key),
                message: format!("unknown field; {}", hint(key, fields)),
            });
        }
        visitor.visit_map(Fields::new(&self, known)).map_err(|error| error.at(&self.path))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        // All enums of these documents are plain words.
        match &self.value {
            Value::String(word) => {
                visitor.visit_enum(IntoDeserializer::<Error>::into_deserializer(word.as_str()))
            }
            _ => Err(de::Error::invalid_type(self.unexpected(), &"a string")),
        }
        .map_err(|error: Error| error.at(&self.path))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq
        tuple tuple_struct map identifier ignored_any
    }
}

struct Fields<'a> {
    node: &'a Node<'a>,
    entries: serde_json::map::IntoIter,
    value: Option<(String, Value)>,
}

impl<'a> Fields<'a> {
    fn new(node: &'a Node<'_>, map: Map<String, Value>) -> Self {
        Self { node, entries: map.into_iter(), value: None }
    }
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some((key, value)) = self.entries.by_ref().find(|(_, value)| !value.is_null()) else {
            return Ok(None);
        };
        self.value = Some((join(&self.node.path, &key), value));
        let key: StringDeserializer<Error> = key.into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let Some((path, value)) = self.value.take() else {
            return Err(de::Error::custom("a value was asked for before its key"));
        };
        seed.deserialize(self.node.child(value, path))
    }
}

struct Items<'a> {
    node: &'a Node<'a>,
    items: std::iter::Enumerate<std::vec::IntoIter<Value>>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some((index, value)) = self.items.next() else { return Ok(None) };
        seed.deserialize(self.node.child(value, format!("{}[{index}]", self.node.path))).map(Some)
    }
}

/// Enough of a value to recognise it.
pub(crate) fn clip(text: &str) -> String {
    const KEEP: usize = 120;
    match text.char_indices().nth(KEEP) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// `path.field`.
pub(crate) fn join(path: &str, field: &str) -> String {
    if path.is_empty() { clip(field) } else { format!("{path}.{}", clip(field)) }
}

/// The word that was probably meant, or all there are.
pub(crate) fn hint(word: &str, known: &[&str]) -> String {
    let closest = known
        .iter()
        .map(|candidate| (distance(&word.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4)
        .min();
    match closest {
        Some((_, candidate)) => format!("did you mean `{candidate}`?"),
        None => format!("known are {}", known.join(", ")),
    }
}

/// Levenshtein distance in characters; inputs longer than any field name are simply far away.
fn distance(a: &str, b: &str) -> usize {
    const LONGEST: usize = 64;
    let (a, b): (Vec<char>, Vec<char>) =
        (a.chars().take(LONGEST).collect(), b.chars().take(LONGEST).collect());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        assert_eq!(distance("name", "name"), 0);
        assert_eq!(distance("nam", "name"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }

    #[test]
    fn far_words_get_the_list() {
        assert_eq!(hint("zebra", &["name", "arn"]), "known are name, arn");
        assert_eq!(hint("Arn", &["name", "arn"]), "did you mean `arn`?");
    }
}
