//! The custom events that put metadata on fragments.

use kvs_putmedia::{FragmentEvent, Producer};

/// As the C++ element has it: `name`, `value`, `persist`.
const METADATA: &str = "kvs-add-metadata";
/// What `putKinesisVideoEventMetadata` of the C SDK does, for which the C++ element has no event.
const EVENT: &str = "kvs-add-event";

/// What an event asks for.
#[derive(Debug, PartialEq)]
pub(super) enum Metadata {
    Tag { name: String, value: String, persist: bool },
    Event(FragmentEvent),
}

/// `None`: the event is none of ours. An error says what it lacks.
pub(super) fn parse(structure: &gst::StructureRef) -> Option<Result<Metadata, String>> {
    match structure.name().as_str() {
        METADATA => Some(tag(structure)),
        EVENT => Some(event(structure)),
        _ => None,
    }
}

fn tag(structure: &gst::StructureRef) -> Result<Metadata, String> {
    let lacks = |field: &str, kind: &str| format!("{METADATA} needs the field {field} of type {kind}");
    Ok(Metadata::Tag {
        name: structure.get("name").map_err(|_| lacks("name", "string"))?,
        value: structure.get("value").map_err(|_| lacks("value", "string"))?,
        persist: structure.get("persist").map_err(|_| lacks("persist", "boolean"))?,
    })
}

fn event(structure: &gst::StructureRef) -> Result<Metadata, String> {
    let wrong = |field: &str, kind: &str| format!("{EVENT}: the field {field} is no {kind}");
    let flag = |field: &str| match structure.has_field(field) {
        true => structure.get::<bool>(field).map_err(|_| wrong(field, "boolean")),
        false => Ok(false),
    };
    let mut event = FragmentEvent {
        image_generation: flag("image-generation")?,
        notification: flag("notification")?,
        ..FragmentEvent::default()
    };
    if structure.has_field("image-prefix") {
        event.image_prefix =
            Some(structure.get("image-prefix").map_err(|_| wrong("image-prefix", "string"))?);
    }
    if structure.has_field("metadata") {
        let pairs =
            structure.get::<gst::Structure>("metadata").map_err(|_| wrong("metadata", "structure"))?;
        for (name, value) in pairs.iter() {
            let value = value.get::<String>().map_err(|_| wrong(name.as_str(), "string"))?;
            event.pairs.push((name.to_string(), value));
        }
    }
    Ok(Metadata::Event(event))
}

impl Metadata {
    pub(super) fn put(self, producer: &mut Producer) -> Result<(), String> {
        match self {
            Metadata::Tag { name, value, persist } => producer
                .put_metadata(&name, &value, persist)
                .then_some(())
                .ok_or_else(|| format!("the fragment metadata {name} was refused")),
            Metadata::Event(event) => producer.put_event(event).map_err(|error| error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_and_what_they_lack_is_named() {
        gst::init().unwrap();
        let parse = |text: &str| parse(&text.parse::<gst::Structure>().unwrap());
        let tag = Metadata::Tag { name: "color".to_owned(), value: "red".to_owned(), persist: true };
        assert_eq!(parse("kvs-add-metadata,name=color,value=red,persist=true"), Some(Ok(tag)));
        let error = parse("kvs-add-metadata,name=color,value=red").unwrap().unwrap_err();
        assert!(error.contains("persist"), "{error}");
        assert_eq!(parse("other,name=color"), None);
        let event = FragmentEvent {
            image_generation: true,
            notification: false,
            image_prefix: Some("front".to_owned()),
            pairs: vec![("door".to_owned(), "open".to_owned())],
        };
        let text =
            "kvs-add-event,image-generation=true,image-prefix=front,metadata=(structure)[m,door=open;]";
        assert_eq!(parse(text), Some(Ok(Metadata::Event(event))));
        let error = parse("kvs-add-event,image-generation=red").unwrap().unwrap_err();
        assert!(error.contains("image-generation"), "{error}");
    }
}
