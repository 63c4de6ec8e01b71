//! The place of a call in a distributed trace, as W3C Trace Context writes it: `00-<trace>-<parent>-<flags>`.

use std::{fmt, str::FromStr};

/// Bytes of the stored form.
const BYTES: usize = 16 + 8 + 1;

/// A `traceparent`: the trace, the caller's span in it, and flags. Its form leaves no room for anything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceParent([u8; BYTES]);

/// The text is not a `traceparent`. The error does not hold the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a traceparent")]
pub struct NotATraceParent;

impl TraceParent {
    /// The id of the trace.
    pub fn trace(&self) -> [u8; 16] {
        self.0.first_chunk().copied().unwrap_or_default()
    }

    /// The id of the caller's span.
    pub fn span(&self) -> [u8; 8] {
        self.0.get(16..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default()
    }

    /// Whether the caller records the trace.
    pub const fn is_sampled(&self) -> bool {
        let [.., flags] = self.0;
        flags & 1 == 1
    }

    /// Its stored form.
    pub const fn as_bytes(&self) -> &[u8; BYTES] {
        &self.0
    }

    /// Reads the stored form.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let read = Self(bytes.try_into().ok()?);
        (read.trace() != [0; 16] && read.span() != [0; 8]).then_some(read)
    }
}

impl FromStr for TraceParent {
    type Err = NotATraceParent;

    /// Reads version 00, and from later versions the fields that they share with it.
    fn from_str(text: &str) -> Result<Self, NotATraceParent> {
        let mut parts = text.split('-');
        let mut part = |digits: usize| {
            let part = parts.next().filter(|part| part.len() == digits)?;
            data_encoding::HEXLOWER.decode(part.as_bytes()).ok()
        };
        let (version, trace, span, flags) = (part(2), part(32), part(16), part(2));
        let (Some(version), Some(trace), Some(span), Some(flags)) = (version, trace, span, flags) else {
            return Err(NotATraceParent);
        };
        let is_known = version == [0] && parts.next().is_none() || version != [0] && version != [0xff];
        Self::from_bytes(&[trace, span, flags].concat()).filter(|_| is_known).ok_or(NotATraceParent)
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
        let [.., flags] = self.0;
        write!(f, "00-{}-{}-{flags:02x}", hex(&self.trace()), hex(&self.span()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_read_back() {
        let read: TraceParent = TEXT.parse().unwrap();
        assert_eq!((read.to_string(), read.is_sampled()), (TEXT.to_owned(), true));
        assert_eq!(TraceParent::from_bytes(read.as_bytes()), Some(read));
        // A later version may have more fields, which are not kept.
        assert_eq!(format!("{}-more", TEXT.replacen("00", "01", 1)).parse(), Ok(read));
    }

    #[test]
    fn what_is_no_traceparent_is_refused() {
        for text in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7",
            "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01-more",
            "ff-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-00f067aa0ba902b7-01",
            "00-0af7651916cd43dd8448eb211c80319-000f067aa0ba902b7-01",
            " 00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01",
        ] {
            assert_eq!(text.parse::<TraceParent>(), Err(NotATraceParent), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC*") {
            let _ = text.parse::<TraceParent>();
        }
    }
}
