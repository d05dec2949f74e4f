//! [`Requests`]: how often each operation was answered, and how.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Request {
    operation: &'static str,
    code: u16,
}

/// Requests that were answered, by operation and status.
#[derive(Debug, Clone, Default)]
pub(crate) struct Requests(Family<Request, Counter>);

impl Requests {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("requests", "Requests that were answered", self.0.clone());
    }

    /// `operation`: of the service, or a word for what is none.
    pub(crate) fn count(&self, operation: &'static str, code: u16) {
        self.0.get_or_create(&Request { operation, code }).inc();
    }
}
