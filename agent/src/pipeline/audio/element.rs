//! The retimer as an element: raw audio in and out.

use std::sync::Arc;

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use parking_lot::Mutex;

use super::codec::Decoder;
use super::rate::RATE;
use super::retime::{Pcm, RetimeFigures, Retimer};

glib::wrapper! {
    /// See [`super`].
    pub struct Retime(ObjectSubclass<Imp>) @extends gst::Element, gst::Object;
}

impl Retime {
    /// A new one behind this decoder, which counts in `figures` as well.
    pub(in crate::pipeline) fn new(decoder: Decoder, figures: Arc<Mutex<RetimeFigures>>) -> Self {
        let element: Self = glib::Object::new();
        {
            let mut state = element.imp().state.lock();
            state.shared = figures;
            state.delay = decoder.delay_nanos();
        }
        element
    }
}

#[derive(Default)]
struct State {
    retimer: Option<Retimer>,
    /// Of decoder and encoder, in nanoseconds.
    delay: u64,
    channels: usize,
    /// The buffer at hand.
    samples: Vec<i16>,
    shared: Arc<Mutex<RetimeFigures>>,
    /// As far as they are in `shared`.
    counted: RetimeFigures,
}

impl State {
    fn count(&mut self) {
        let Some(retimer) = &self.retimer else { return };
        let (now, before) = (retimer.figures, self.counted);
        let mut shared = self.shared.lock();
        shared.filled += now.filled - before.filled;
        shared.retimed += now.retimed - before.retimed;
        shared.late += now.late - before.late;
        self.counted = now;
    }
}

/// The element's own part.
pub struct Imp {
    sink: gst::Pad,
    source: gst::Pad,
    state: Mutex<State>,
}

#[glib::object_subclass]
impl ObjectSubclass for Imp {
    const NAME: &'static str = "KvsIngestRetime";
    type Type = Retime;
    type ParentType = gst::Element;

    fn with_class(class: &Self::Class) -> Self {
        let pad = |name: &str| class.pad_template(name);
        let sink = pad("sink").map(|template| {
            gst::Pad::builder_from_template(&template)
                .chain_function(|_, parent, buffer| {
                    Imp::catch_panic_pad_function(
                        parent,
                        || Err(gst::FlowError::Error),
                        |imp| imp.chain(&buffer),
                    )
                })
                .event_function(|pad, parent, event| {
                    Imp::catch_panic_pad_function(parent, || false, |imp| imp.event(pad, event))
                })
                .flags(gst::PadFlags::PROXY_CAPS)
                .build()
        });
        let source = pad("src").map(|template| {
            gst::Pad::builder_from_template(&template).flags(gst::PadFlags::PROXY_CAPS).build()
        });
        Self {
            sink: sink.unwrap_or_else(|| gst::Pad::new(gst::PadDirection::Sink)),
            source: source.unwrap_or_else(|| gst::Pad::new(gst::PadDirection::Src)),
            state: Mutex::default(),
        }
    }
}

impl ObjectImpl for Imp {
    fn constructed(&self) {
        self.parent_constructed();
        for pad in [&self.sink, &self.source] {
            // It has no other pads, so there is none of that name.
            let _ = self.obj().add_pad(pad);
        }
    }
}

impl GstObjectImpl for Imp {}

impl ElementImpl for Imp {
    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: std::sync::LazyLock<Vec<gst::PadTemplate>> = std::sync::LazyLock::new(|| {
            let caps = gst::Caps::builder("audio/x-raw")
                .field("format", "S16LE")
                .field("layout", "interleaved")
                .field("rate", RATE as i32)
                .field("channels", gst::IntRange::new(1, 2))
                .build();
            [("sink", gst::PadDirection::Sink), ("src", gst::PadDirection::Src)]
                .into_iter()
                .filter_map(|(name, direction)| {
                    gst::PadTemplate::new(name, direction, gst::PadPresence::Always, &caps).ok()
                })
                .collect()
        });
        &TEMPLATES
    }
}

impl Imp {
    fn event(&self, pad: &gst::Pad, event: gst::Event) -> bool {
        match event.view() {
            gst::EventView::Caps(caps) => {
                let channels = caps.caps().structure(0).and_then(|it| it.get::<i32>("channels").ok());
                let channels = usize::try_from(channels.unwrap_or(1)).unwrap_or(1);
                let mut state = self.state.lock();
                if state.channels != channels || state.retimer.is_none() {
                    (state.channels, state.counted) = (channels, RetimeFigures::default());
                    state.retimer = Some(Retimer::new(channels));
                }
            }
            gst::EventView::Eos(_) => {
                let (rest, delay) = {
                    let mut state = self.state.lock();
                    (state.retimer.as_mut().map(Retimer::finish), state.delay)
                };
                for pcm in rest.into_iter().flatten() {
                    let _ = self.source.push(buffer(pcm, delay));
                }
            }
            _ => {}
        }
        gst::Pad::event_default(pad, Some(&*self.obj()), event)
    }

    fn chain(&self, buffer: &gst::BufferRef) -> Result<gst::FlowSuccess, gst::FlowError> {
        let at = buffer.pts().map_or(0, gst::ClockTime::nseconds);
        let (pieces, delay) = {
            let map = buffer.map_readable().map_err(|_| gst::FlowError::Error)?;
            let mut state = self.state.lock();
            let State { retimer, samples, delay, channels: _, shared: _, counted: _ } = &mut *state;
            let delay = *delay;
            samples.clear();
            samples.extend(map.chunks_exact(2).map(|bytes| i16::from_le_bytes([bytes[0], bytes[1]])));
            let Some(retimer) = retimer else { return Err(gst::FlowError::NotNegotiated) };
            let pieces = retimer.push(i64::try_from(at).unwrap_or(i64::MAX), samples);
            state.count();
            (pieces, delay)
        };
        for pcm in pieces {
            self.source.push(self::buffer(pcm, delay))?;
        }
        Ok(gst::FlowSuccess::Ok)
    }
}

/// `delay` nanoseconds are taken off its time.
fn buffer(pcm: Pcm, delay: u64) -> gst::Buffer {
    let mut bytes = vec![0; pcm.samples.len() * 2];
    for (bytes, sample) in bytes.chunks_exact_mut(2).zip(&pcm.samples) {
        bytes.copy_from_slice(&sample.to_le_bytes());
    }
    let mut buffer = gst::Buffer::from_mut_slice(bytes);
    if let Some(buffer) = buffer.get_mut() {
        let at = u64::try_from(pcm.at).unwrap_or(0).saturating_sub(delay);
        buffer.set_pts(gst::ClockTime::from_nseconds(at));
        if pcm.discont {
            buffer.set_flags(gst::BufferFlags::DISCONT);
        }
    }
    buffer
}
