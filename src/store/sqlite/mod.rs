//! tmp
use super::{OpenError, OpenRequest, Opened};
pub(super) fn open(_: &OpenRequest, _: &str) -> Result<Opened, OpenError> {
    Err(OpenError::Unsupported { scheme: String::new() })
}
