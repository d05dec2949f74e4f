//! When the same call, signed anew, can succeed at once.

use kvs_aws::{AwsContext, ErrorClass};

/// Whether to make a call once more that failed with `class` and began when the measured skew was `skew_ms`. Credentials
/// that the service refused are invalidated.
pub(crate) async fn should_retry(context: &AwsContext, skew_ms: i64, class: ErrorClass) -> bool {
    match class {
        // The refusal brought the right time with it. A signature that is refused without saying why may have been
        // made at the wrong time, too.
        ErrorClass::ClockSkew => context.skew_ms() != skew_ms,
        ErrorClass::AccessDenied => {
            context.invalidate_denied_credentials().await;
            context.skew_ms() != skew_ms
        }
        ErrorClass::CredentialsExpired => {
            context.invalidate_credentials().await;
            true
        }
        _ => false,
    }
}
