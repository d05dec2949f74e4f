//! The SDK's HTTP client, with an eye on the clock.

use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;

use crate::clock::Clock;
use crate::tls::Roots;

/// An HTTP client that trusts `roots` and teaches `clock` what AWS's time is.
pub(crate) fn client(roots: &Roots, clock: Clock) -> Result<SharedHttpClient, String> {
    // Not `with_native_roots`: the SDK insists on finding some, and a container image may have none.
    let mut store = TrustStore::empty();
    for pem in roots.pem() {
        store.add_pem_certificate(pem);
    }
    let context = TlsContext::builder().with_trust_store(store).build().map_err(|error| error.to_string())?;
    let inner = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(context)
        .build_https();
    Ok(SharedHttpClient::new(Observing { inner, clock }))
}

#[derive(Debug)]
struct Observing<T> {
    inner: T,
    clock: Clock,
}

impl HttpClient for Observing<SharedHttpClient> {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(Observing { inner, clock: self.clock.clone() })
    }
}

impl HttpConnector for Observing<SharedHttpConnector> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        // Only what is signed goes to AWS itself; the clock of a metadata endpoint is that of this machine, and its
        // Authorization header holds some other token.
        let signed = request.headers().get("authorization").is_some_and(|value| value.starts_with("AWS4-"));
        let answer = self.inner.call(request);
        if !signed {
            return answer;
        }
        let clock = self.clock.clone();
        HttpConnectorFuture::new(async move {
            let answer = answer.await?;
            observe(&clock, &answer);
            Ok(answer)
        })
    }
}

fn observe(clock: &Clock, answer: &HttpResponse) {
    // RFC 9111 section 5.1: from a cache, and so is its date.
    if answer.headers().get("age").is_none()
        && let Some(date) = answer.headers().get("date")
    {
        clock.observe(date);
    }
}
