//! Answers while the machine's clock is implausible. hyper writes the date into every answer, and panics if HTTP can't
//! express it, so such connections never reach hyper.

use std::{
    fmt::Write as _,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::answer::{error_body, protect};
use crate::{
    domain::time::Timestamp,
    operations::{ErrorCode, Refusal},
};

/// Whether HTTP can express the date that hyper would write now.
pub(super) fn has_date() -> bool {
    #[expect(clippy::disallowed_methods, reason = "what counts is the clock that hyper asks by itself")]
    let now = SystemTime::now();
    can_be_written(now)
}

fn can_be_written(now: SystemTime) -> bool {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).ok();
    let seconds = since.and_then(|since| i64::try_from(since.as_secs()).ok());
    seconds.is_some_and(|seconds| Timestamp::from_seconds(seconds).is_plausible())
}

/// Answers any request with the error, and closes the connection.
pub(super) async fn answer<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, wait: Duration) {
    let answer = async {
        // Read the request first: an answer to an unread request may never arrive.
        if stream.read(&mut [0; 4096]).await? == 0 {
            return Ok(());
        }
        let refusal = Refusal::Clock;
        stream.write_all(&bare(StatusCode::SERVICE_UNAVAILABLE, refusal.code(), &refusal.to_string())).await?;
        stream.shutdown().await
    };
    let _ = tokio::time::timeout(wait, answer).await;
}

/// A whole response in bytes, after which the connection ends.
fn bare(status: StatusCode, code: ErrorCode, message: &str) -> Bytes {
    let body = error_body(code, message.to_owned(), None);
    let mut headers = HeaderMap::new();
    protect(&mut headers, false);
    let mut head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\n");
    for (name, value) in &headers {
        let _ = write!(head, "{name}: {}\r\n", value.to_str().unwrap_or_default());
    }
    let _ = write!(head, "content-length: {}\r\n\r\n", body.len());
    [head.into_bytes(), body].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_before_1970_or_after_9999_cant_be_written() {
        let epoch = SystemTime::UNIX_EPOCH;
        let far = epoch + Duration::from_hours(70_389_528);
        let times = [epoch - Duration::from_secs(1), epoch, epoch + Duration::from_hours(500_000), far];
        assert_eq!(times.map(can_be_written), [false, true, true, false]);
    }

    #[tokio::test]
    async fn whatever_is_asked_is_answered_with_what_has_to_be_done() {
        let (mut client, server) = tokio::io::duplex(4096);
        client.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();

        answer(server, Duration::from_secs(5)).await;

        let mut said = String::new();
        client.read_to_string(&mut said).await.unwrap();
        assert!(said.starts_with("HTTP/1.1 503 ") && said.contains("connection: close\r\n"), "{said}");
        assert!(said.contains(r#""error":"unavailable""#) && said.contains("1970"), "{said}");
    }
}
