//! Buffers of H.265 that are a byte stream: their parameter sets are their format.

use bytes::Bytes;
use gst::subclass::prelude::*;
use kvs_putmedia::TrackKind;

use super::caps;
use super::element::Imp;
use super::hevc::{ByteStream, Converted};
use super::track::index;

impl Imp {
    /// Of a byte stream, what is stored of it; its format is set when it is known, or another. It is an error when the
    /// format does not come.
    pub(super) fn convert(&self, kind: TrackKind, data: Bytes) -> Result<Bytes, gst::FlowError> {
        let (data, format, in_vain) = {
            let mut track = self.tracks[index(kind)].lock();
            let Some((caps, stream)) = &mut track.byte_stream else { return Ok(data) };
            if stream.has_given_up() {
                return Err(gst::FlowError::NotNegotiated);
            }
            let Converted { data, record } = stream.read(&data);
            let (caps, in_vain) = (caps.clone(), stream.give_up(false));
            let format =
                record.map(|record| (caps::byte_stream_format(&caps, record, &self.track_name()), caps));
            (data, format, in_vain)
        };
        if let Some(frames) = in_vain {
            self.no_parameter_sets(frames);
            return Err(gst::FlowError::NotNegotiated);
        }
        match format.map(|(format, caps)| self.set_format(kind, &caps, format)) {
            Some(false) => Err(gst::FlowError::NotNegotiated),
            Some(true) | None => Ok(data),
        }
    }

    /// The track has ended: nothing of it is stored if its format has never come.
    pub(super) fn byte_stream_ended(&self, kind: TrackKind) {
        let stream = |(_, stream): &mut (gst::Caps, ByteStream)| stream.give_up(true);
        let in_vain = self.tracks[index(kind)].lock().byte_stream.as_mut().and_then(stream);
        if let Some(frames) = in_vain {
            self.no_parameter_sets(frames);
        }
    }

    fn no_parameter_sets(&self, frames: usize) {
        gst::element_imp_error!(
            self,
            gst::StreamError::Format,
            [
                "{frames} frames of the H.265 byte stream have come, and no usable VPS, SPS and PPS with them: nothing of it \
                 can be stored. Put h265parse config-interval=-1 in front"
            ]
        );
    }
}

#[cfg(test)]
mod tests {
    use gst::prelude::*;

    use super::super::KvsSink as Element;
    use super::super::hevc::PATIENCE;
    use super::*;

    const CAPS: &str = "video/x-h265,stream-format=byte-stream,alignment=au,width=320,height=240";

    fn element() -> (Element, gst::Bus) {
        gst::init().unwrap();
        let element: Element = gst::glib::Object::new();
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        assert!(element.imp().set_caps(TrackKind::Video, &CAPS.parse::<gst::Caps>().unwrap()));
        (element, bus)
    }

    fn frame(element: &Element) -> Result<Bytes, gst::FlowError> {
        element.imp().convert(TrackKind::Video, Bytes::from_static(&[0, 0, 0, 1, 0x26, 1, 0xd0, 9]))
    }

    fn error(bus: &gst::Bus) -> Option<String> {
        let message = bus.pop_filtered(&[gst::MessageType::Error])?;
        let gst::MessageView::Error(error) = message.view() else { return None };
        assert!(error.error().matches(gst::StreamError::Format));
        Some(error.error().to_string() + &error.debug().unwrap_or_default())
    }

    #[test]
    fn parameter_sets_that_never_come_are_an_error() {
        let (element, bus) = element();
        for _ in 1..PATIENCE {
            assert!(frame(&element).is_ok());
        }
        assert_eq!(error(&bus), None);
        assert_eq!(frame(&element), Err(gst::FlowError::NotNegotiated));
        let message = error(&bus).unwrap();
        assert!(message.contains("h265parse config-interval=-1"), "{message}");
        assert_eq!(frame(&element), Err(gst::FlowError::NotNegotiated));
        element.imp().byte_stream_ended(TrackKind::Video);
        assert_eq!(error(&bus), None, "once is enough");
    }

    #[test]
    fn an_end_without_parameter_sets_is_an_error() {
        let (element, bus) = element();
        element.imp().byte_stream_ended(TrackKind::Video);
        assert_eq!(error(&bus), None, "no frames");
        frame(&element).unwrap();
        element.imp().byte_stream_ended(TrackKind::Video);
        assert!(error(&bus).unwrap().contains("h265parse"));
    }
}
