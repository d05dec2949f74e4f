//! [`Scope`]: where a call looks for what it names.

use std::fmt;

use super::{ACCOUNT, Arn};
use crate::error::{ErrorKind, ServiceError};

/// Names are unique within an account and a region, and what they name is found by calls of that account alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope {
    /// Twelve digits: that of the key that the call is signed with.
    pub account: String,
    /// The region that the call is signed for.
    pub region: String,
}

impl Scope {
    /// Of the account that is there without being asked for.
    #[must_use]
    pub fn of_region(region: &str) -> Self {
        Self { account: ACCOUNT.to_owned(), region: region.to_owned() }
    }

    /// Complains about a resource of another account, whether it is there or not. ARNs may be of any region.
    ///
    /// # Errors
    /// `AccessDeniedException`
    pub(crate) fn check(&self, arn: &Arn) -> Result<(), ServiceError> {
        if arn.account == self.account {
            return Ok(());
        }
        Err(ServiceError::new(
            ErrorKind::AccessDenied,
            format!(
                "The key is of the account {}, and {arn} of another (--account says whose a key is).",
                self.account
            ),
        ))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.account, self.region)
    }
}
