//! `--qr`: the texts of the QR codes in a picture, which a child process reads.

use zeroize::Zeroizing;

use crate::{
    child::{ChildError, Children, Job},
    operations::ErrorCode,
    picture::Unread,
    transport::cli::Failure,
};

/// Reads the QR codes in a picture.
pub(super) async fn read(file: &[u8], children: &Children) -> Result<Vec<Zeroizing<String>>, Failure> {
    let read: Result<Vec<Zeroizing<String>>, Unread> = children.run(Job::Picture, file).await.map_err(failed)?;
    read.map_err(|unread| Failure::invalid(unread.to_string()))
}

fn failed(cause: ChildError) -> Failure {
    let code = match cause {
        ChildError::Busy | ChildError::Start(_) | ChildError::Answer => ErrorCode::Unavailable,
        ChildError::TooLarge(_) => ErrorCode::TooLarge,
        ChildError::OutOfTime(_) | ChildError::Died(_) => {
            let message =
                "the picture can't be read within its limits; cut the QR code out, and take nothing else along";
            return Failure::invalid(message);
        }
    };
    Failure::Failed { code, message: format!("the picture can't be read: {cause}") }
}
