//! The client that every operation goes through, and what operations on channels and on streams have in common.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use aws_sdk_kinesisvideo::Client;
use kvs_aws::{AwsContext, ErrorClass};
use url::Url;

use crate::error::Error;

/// Keys and values on a channel or stream.
pub type Tags = BTreeMap<String, String>;

/// The control plane of one region.
#[derive(Clone, Debug)]
pub struct ControlPlane {
    pub(super) context: AwsContext,
    pub(super) client: Client,
    /// True from the first look at which what is asked for was not active yet.
    pub(super) waits: Arc<AtomicBool>,
}

impl ControlPlane {
    /// A client of the context's region or endpoint.
    #[must_use]
    pub fn new(context: &AwsContext) -> Self {
        let client = Client::new(context.sdk_config());
        Self { context: context.clone(), client, waits: Arc::default() }
    }

    /// Credentials, region and the clock of AWS.
    pub(crate) fn context(&self) -> &AwsContext {
        &self.context
    }

    /// Sets `flag` when a channel or stream is found that is not active yet, and is waited for: that may take a minute, and
    /// whoever asked may want to say why.
    #[must_use]
    pub fn waiting(self, flag: Arc<AtomicBool>) -> Self {
        Self { waits: flag, ..self }
    }
}

/// Whether a call created something. What is there already is as good: two agents may start at the same time.
pub(super) fn created_unless_there<T>(created: Result<T, Error>) -> Result<bool, Error> {
    match created {
        Ok(_) => Ok(true),
        Err(error) if error.class == ErrorClass::Conflict => Ok(false),
        Err(error) => Err(error),
    }
}

/// The same for a deletion: what is not there is as good as deleted.
pub(super) fn deleted_or_missing<T>(deleted: Result<T, Error>) -> Result<(), Error> {
    match deleted {
        Err(error) if error.class != ErrorClass::NotFound => Err(error),
        _ => Ok(()),
    }
}

pub(super) fn incomplete(operation: &'static str, resource: &dyn Display, what: &str) -> Error {
    Error::new(operation, resource, ErrorClass::Service, format!("the answer holds no {what}"))
}

pub(super) fn endpoint(operation: &'static str, resource: &dyn Display, text: &str) -> Result<Url, Error> {
    Url::parse(text).ok().filter(Url::has_host).ok_or_else(|| {
        Error::new(operation, resource, ErrorClass::Service, format!("the endpoint {text:?} is no URL"))
    })
}
