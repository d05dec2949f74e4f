//! Makes GStreamer elements, with an error that names what to install.

use gst::prelude::*;
use thiserror::Error;

/// Why a pipeline could not be built.
#[derive(Debug, Error)]
pub enum PipelineError {
    /// The element is not installed.
    #[error("GStreamer element `{element}` is missing: {}", remedy(element))]
    MissingElement {
        /// Factory name.
        element: &'static str,
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

/// What to do without an element of ours.
fn remedy(element: &str) -> String {
    let package = match element {
        "voaacenc" => "gstreamer1.0-plugins-bad",
        "aacparse" => "gstreamer1.0-plugins-good",
        "kvssink" => {
            return "set GST_PLUGIN_PATH to the folder of the AWS producer SDK's libgstkvssink.so, or leave --kvssink at \
                    its default, builtin"
                .to_owned();
        }
        _ => "gstreamer1.0-plugins-base",
    };
    format!(
        "install the Debian package {package} (`apt-get install {package}`), or set GST_PLUGIN_PATH to where the plugin is"
    )
}

/// A new element, by factory name.
pub(super) fn make(element: &'static str) -> Result<gst::Element, PipelineError> {
    gst::ElementFactory::make(element).build().map_err(|_| PipelineError::MissingElement { element })
}

/// Checks that everything the pipeline is made of is installed; with `plugin` also a `kvssink`.
///
/// # Errors
///
/// The first element that is missing.
pub fn check_installed(plugin: bool) -> Result<(), PipelineError> {
    let elements = ["appsrc", "capsfilter", "h264parse", "opusdec", "voaacenc", "aacparse"];
    for element in elements.into_iter().chain(plugin.then_some("kvssink")) {
        if gst::ElementFactory::find(element).is_none() {
            return Err(PipelineError::MissingElement { element });
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
