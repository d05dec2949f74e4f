//! [`read`]: a whole request body, of bounded length and in bounded time.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

use crate::error::{ErrorKind, ServiceError};

/// The longest body. The service's own limits are far below.
const MOST: usize = 256 * 1024;
/// How long a body may take. PutMedia's, which has no end, is not read here.
const WITHIN: Duration = Duration::from_secs(30);

/// Reads a body.
///
/// # Errors
/// `InvalidArgumentException` when it is longer than 256 KiB, `RequestTimeoutException` when it takes more than 30 s,
/// `SerializationException` when it breaks off.
pub(crate) async fn read(body: Body) -> Result<Bytes, ServiceError> {
    match timeout(WITHIN, Limited::new(body, MOST).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(ServiceError::new(
            ErrorKind::InvalidArgument,
            format!("The request body is longer than {MOST} bytes."),
        )),
        Ok(Err(error)) => Err(ServiceError::new(
            ErrorKind::Serialization,
            format!("The request body could not be read: {error}"),
        )),
        Err(_) => Err(ServiceError::new(
            ErrorKind::RequestTimeout,
            format!("The request body was not there within {} seconds.", WITHIN.as_secs()),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_is_neither_endless_nor_slow() {
        let whole = read(Body::from(vec![7; MOST])).await.unwrap();
        assert_eq!(whole.len(), MOST);
        let longer = read(Body::from(vec![7; MOST + 1])).await.unwrap_err();
        assert_eq!(longer.kind, ErrorKind::InvalidArgument);
        let drop_by_drop = futures::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_secs(7)).await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b"x")), ()))
        });
        let slow = read(Body::from_stream(drop_by_drop)).await.unwrap_err();
        assert_eq!(slow.kind, ErrorKind::RequestTimeout);
    }
}
