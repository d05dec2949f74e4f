//! Makes GStreamer elements, with an error that names what to install.

use gst::prelude::*;
use thiserror::Error;

/// Why a pipeline could not be built.
#[derive(Debug, Error)]
pub enum PipelineError {
    /// The element is not installed.
    #[error(
        "GStreamer element `{element}` is missing: install the Debian package {package} \
         (`apt-get install {package}`), or set GST_PLUGIN_PATH to where the plugin is"
    )]
    MissingElement {
        /// Factory name.
        element: &'static str,
        /// Debian package.
        package: &'static str,
    },
    /// The element does not have a property or pad that is needed.
    #[error("GStreamer element `{element}`: {reason}")]
    Element {
        /// Factory name.
        element: String,
        /// What does not fit.
        reason: String,
    },
    /// GStreamer itself failed.
    #[error("GStreamer: {0}")]
    Gst(#[from] gst::glib::Error),
    /// GStreamer itself failed.
    #[error("GStreamer: {0}")]
    Bool(#[from] gst::glib::BoolError),
    /// The pipeline refused to run.
    #[error("the GStreamer pipeline does not start: {0}")]
    State(#[from] gst::StateChangeError),
}

/// The Debian package that holds an element of ours.
fn package(element: &str) -> &'static str {
    match element {
        "h264parse" | "voaacenc" => "gstreamer1.0-plugins-bad",
        "aacparse" => "gstreamer1.0-plugins-good",
        "kvssink" => "of the AWS KVS producer SDK (or leave --kvssink at its default, builtin)",
        _ => "gstreamer1.0-plugins-base",
    }
}

/// A new element, by factory name.
pub(super) fn make(element: &'static str) -> Result<gst::Element, PipelineError> {
    gst::ElementFactory::make(element)
        .build()
        .map_err(|_| PipelineError::MissingElement { element, package: package(element) })
}

/// Checks that everything the pipeline is made of is installed.
///
/// # Errors
///
/// The first element that is missing.
pub fn check_installed() -> Result<(), PipelineError> {
    for element in [
        "appsrc",
        "capsfilter",
        "h264parse",
        "opusdec",
        "audioconvert",
        "audioresample",
        "audiorate",
        "voaacenc",
        "aacparse",
    ] {
        if gst::ElementFactory::find(element).is_none() {
            return Err(PipelineError::MissingElement { element, package: package(element) });
        }
    }
    Ok(())
}

/// Sets a property when the element has it: the C++ `kvssink` and ours agree on names, but a future
/// version may drop one.
pub(super) fn set(
    element: &gst::Element,
    name: &str,
    value: impl Into<gst::glib::Value>,
) -> Result<(), PipelineError> {
    let wrong = |reason: String| PipelineError::Element {
        element: element.factory().map(|factory| factory.name().to_string()).unwrap_or_default(),
        reason,
    };
    let specification =
        element.find_property(name).ok_or_else(|| wrong(format!("it has no property `{name}`")))?;
    let value = value.into();
    let value = value
        .transform_with_type(specification.value_type())
        .map_err(|error| wrong(format!("property `{name}`: {error}")))?;
    element.set_property_from_value(name, &value);
    Ok(())
}
