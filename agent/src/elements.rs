//! Makes GStreamer elements, with an error that names what to install.

use gst::prelude::*;
use thiserror::Error;

/// Why a pipeline could not be built.
#[derive(Debug, Error)]
pub enum PipelineError {
    /// The element is not installed.
    #[error("GStreamer element `{element}` is missing: {remedy}")]
    MissingElement { element: &'static str, remedy: String },
    /// The element does not have a property or pad that is needed.
    #[error("GStreamer element `{element}`: {reason}")]
    Element { element: String, reason: String },
    /// Sound cannot be decoded in this way.
    #[error("the decoder of {codec}: {reason}")]
    Decoder { codec: &'static str, reason: String },
    /// An error of GStreamer with a domain and a code.
    #[error("GStreamer: {0}")]
    Gst(#[from] gst::glib::Error),
    /// A call of GStreamer that only says that it failed.
    #[error("GStreamer: {0}")]
    Bool(#[from] gst::glib::BoolError),
    /// The pipeline refused to run.
    #[error("the GStreamer pipeline does not start: {0}")]
    State(#[from] gst::StateChangeError),
}

/// An element of one of Debian's packages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    /// Of its factory.
    name: &'static str,
    package: &'static str,
}

const CORE: &str = "libgstreamer1.0-0";
const BASE: &str = "gstreamer1.0-plugins-base";
const BAD: &str = "gstreamer1.0-plugins-bad";

pub(crate) const APPSRC: Kind = Kind { name: "appsrc", package: BASE };
pub(crate) const APPSINK: Kind = Kind { name: "appsink", package: BASE };
pub(crate) const CAPSFILTER: Kind = Kind { name: "capsfilter", package: CORE };
pub(crate) const TEE: Kind = Kind { name: "tee", package: CORE };
pub(crate) const VOAACENC: Kind = Kind { name: "voaacenc", package: BAD };

impl Kind {
    /// A new one.
    ///
    /// # Errors
    ///
    /// It is not installed.
    pub(crate) fn make(self) -> Result<gst::Element, PipelineError> {
        gst::ElementFactory::make(self.name).build().map_err(|_| self.missing())
    }

    /// # Errors
    ///
    /// It is not installed.
    pub(crate) fn check_installed(self) -> Result<(), PipelineError> {
        gst::ElementFactory::find(self.name).map(drop).ok_or_else(|| self.missing())
    }

    fn missing(self) -> PipelineError {
        let Self { name, package } = self;
        let remedy = format!(
            "install the Debian package {package} (`apt-get install {package}`), or set GST_PLUGIN_PATH to where the plugin is"
        );
        PipelineError::MissingElement { element: name, remedy }
    }
}

/// Sets a property. An element of another version that lacks it is an error, and no panic as in GObject.
pub(crate) fn set(
    element: &gst::Element,
    name: &str,
    value: impl Into<gst::glib::Value>,
) -> Result<(), PipelineError> {
    let specification =
        element.find_property(name).ok_or_else(|| unfit(element, format!("it has no property `{name}`")))?;
    let value = value
        .into()
        .transform_with_type(specification.value_type())
        .map_err(|error| unfit(element, format!("property `{name}`: {error}")))?;
    element.set_property_from_value(name, &value);
    Ok(())
}

/// Requests a pad of a template, `video_%u`.
pub(crate) fn request_pad(element: &gst::Element, template: &str) -> Result<gst::Pad, PipelineError> {
    element.request_pad_simple(template).ok_or_else(|| unfit(element, format!("it has no pad `{template}`")))
}

fn unfit(element: &gst::Element, reason: String) -> PipelineError {
    let element = element.factory().map(|factory| factory.name().to_string()).unwrap_or_default();
    PipelineError::Element { element, reason }
}
