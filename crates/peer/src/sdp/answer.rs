//! Reads an answer against our own offer.

use super::{Answer, AnswerError, OfferedSection};

/// Reads `sdp`, the answer to an offer of these sections.
///
/// # Errors
///
/// [`AnswerError`] when no media can come of it.
pub fn read_answer(offered: &[OfferedSection], sdp: &str) -> Result<Answer, AnswerError> {
    let _ = (offered, sdp);
    Err(AnswerError::NotSdp)
}
