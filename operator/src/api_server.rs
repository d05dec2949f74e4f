//! The way to the API server.

use anyhow::{Context, Result};
use http::Uri;
use kube::Config;

/// From a kubeconfig or, in a pod, from its service account. In a pod the way is always direct; with a kubeconfig kube takes
/// its `proxy-url`, else `HTTPS_PROXY`.
pub async fn config() -> Result<Config> {
    let mut config =
        Config::infer().await.context("no way to the API server: neither a kubeconfig nor a pod")?;
    let variables = ["HTTPS_PROXY", "https_proxy"].map(|name| std::env::var(name).ok());
    if is_for_others(&config, &variables, kvs_aws::is_direct) {
        config.proxy_url = None;
    }
    // Retries are the reconcile's, with a delay for each object: a slot must not be held by one.
    config.default_retry = false;
    Ok(config)
}

/// Whether a proxy of the environment is not for this API server. kube holds the proxy's own name against `NO_PROXY`, not the
/// server's, and asks a proxy for 127.0.0.1 too, where a cluster for trying things out is.
fn is_for_others(config: &Config, variables: &[Option<String>], direct: impl Fn(&str, u16) -> bool) -> bool {
    let Some(proxy) = &config.proxy_url else { return false };
    let of_environment =
        variables.iter().flatten().any(|value| value.parse::<Uri>().is_ok_and(|url| url == *proxy));
    let server = &config.cluster_url;
    let port = server.port_u16().unwrap_or(if server.scheme_str() == Some("http") { 80 } else { 443 });
    let host = server.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    of_environment && direct(host, port)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_of_the_environment_is_not_asked_where_no_proxy_says_so() {
        let proxy = "http://proxy.test:3128";
        let decide = |server: &str, proxy_url: Option<&str>, variable: Option<&str>| {
            let mut config = Config::new(server.parse().unwrap());
            config.proxy_url = proxy_url.map(|url| url.parse().unwrap());
            let direct = |host: &str, port| {
                matches!((host, port), ("127.0.0.1", 6443) | ("::1", 443) | ("api.test", 443))
            };
            is_for_others(&config, &[None, variable.map(str::to_owned)], direct)
        };
        for server in ["https://127.0.0.1:6443", "https://[::1]", "https://api.test"] {
            assert!(decide(server, Some(proxy), Some(proxy)), "{server}");
            // it is the kubeconfig's own
            assert!(!decide(server, Some(proxy), Some("http://other.test")), "{server}");
            assert!(!decide(server, Some(proxy), None), "{server}");
            assert!(!decide(server, None, Some(proxy)), "{server}");
        }
        assert!(!decide("https://elsewhere.test", Some(proxy), Some(proxy)));
    }
}
