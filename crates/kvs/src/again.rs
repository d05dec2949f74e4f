//! When the same call, signed anew, can succeed at once.

use kvs_aws::{AwsContext, ErrorClass};

/// Is a second attempt worth it, after one that failed with `class` and began when the measured skew was `skew_ms`?
/// Credentials that have ended are forgotten.
pub(crate) async fn is_worth_it(context: &AwsContext, skew_ms: i64, class: ErrorClass) -> bool {
    match class {
        // The refusal brought the right time with it. A signature that is refused without saying why may have been
        // made at the wrong time, too.
        ErrorClass::ClockSkew => context.skew_ms() != skew_ms,
        ErrorClass::AccessDenied => {
            context.doubt_credentials().await;
            context.skew_ms() != skew_ms
        }
        ErrorClass::CredentialsExpired => {
            context.forget_credentials().await;
            true
        }
        _ => false,
    }
}
