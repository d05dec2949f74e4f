//! Messages of data channels that become metadata of fragments.

use serde::{Deserialize, Serialize};

/// The master's messages over WebRTC data channels, stored as metadata of the stream's fragments: name and value of a tag
/// that `GetMedia` gives back, ten for a fragment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub struct DataSpec {
    /// The channels whose messages are stored, by their labels: patterns in which `*` is any text. Messages of other channels are
    /// received and counted.
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 16), inner(length(min = 1, max = 128))))]
    pub labels: Vec<String>,
    /// The name of the tag. `{label}` stands for the label of the channel, `{number}` for the number of the message, from 1 since
    /// the agent started. Default: `{label}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "crd",
        schemars(
            length(min = 1, max = 128),
            regex(pattern = r"^([^{}]|\{label\}|\{number\})+$"),
            extend("x-kubernetes-validations" = [{
                "rule": "!self.startsWith('AWS')",
                "message": "names of tags that begin with AWS are the service's",
            }])
        )
    )]
    pub tag: Option<String>,
    /// Labels of channels that the agent opens itself, for masters that wait for the viewer to do so; each matches one of
    /// `labels`. Nothing is sent over them. Default: none, and the master opens its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "crd", schemars(length(max = 8), inner(length(min = 1, max = 128))))]
    pub open: Vec<String>,
}

/// What a piece of [`DataSpec::tag`] is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagPiece {
    /// As it is written.
    Text(String),
    /// The label of the channel.
    Label,
    /// The number of the message.
    Number,
}

impl DataSpec {
    /// The pieces of `tag`, or of its default.
    ///
    /// # Errors
    /// What is not understood, in words.
    pub fn tag_pieces(&self) -> Result<Vec<TagPiece>, String> {
        let mut pieces = Vec::new();
        let mut rest = self.tag.as_deref().unwrap_or("{label}");
        while let Some(brace) = rest.find(['{', '}']) {
            let (text, name) = rest.split_at(brace);
            if !text.is_empty() {
                pieces.push(TagPiece::Text(text.to_owned()));
            }
            let known = [("{label}", TagPiece::Label), ("{number}", TagPiece::Number)];
            let Some((after, piece)) =
                known.into_iter().find_map(|(word, piece)| Some((name.strip_prefix(word)?, piece)))
            else {
                return Err("in braces there is {label} or {number}, and nothing else".to_owned());
            };
            pieces.push(piece);
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(TagPiece::Text(rest.to_owned()));
        }
        Ok(pieces)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_read_in_pieces() {
        let pieces =
            |tag: Option<&str>| DataSpec { tag: tag.map(str::to_owned), ..DataSpec::default() }.tag_pieces();
        let text = |text: &str| TagPiece::Text(text.to_owned());
        assert_eq!(pieces(None), Ok(vec![TagPiece::Label]));
        assert_eq!(pieces(Some("door")), Ok(vec![text("door")]));
        assert_eq!(
            pieces(Some("a.{label}{number}b")),
            Ok(vec![text("a."), TagPiece::Label, TagPiece::Number, text("b")])
        );
        for wrong in ["{", "}", "{Label}", "{label", "a{}b", "{{label}}"] {
            assert!(pieces(Some(wrong)).is_err(), "{wrong}");
        }
    }
}
