//! A browser that takes commands from two named pipes in a folder. No port is open then: only a program that may write
//! into the folder's pipes can command it.
//!
//! To the browser, all programs that write into its pipe are one connection. So one program at a time uses the pipes,
//! in a session of its own, and ends that session when it leaves.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write as _},
    os::{
        fd::AsFd as _,
        unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    },
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};

use rustix::fs::OFlags;
use serde_json::json;
use tokio::{
    net::unix::pipe::{OpenOptions, Receiver, Sender},
    time::{Instant, sleep},
};
use tokio_util::codec::{AnyDelimiterCodec, FramedRead, FramedWrite};

/// The pipe from which the browser reads, its descriptor 3.
const COMMANDS: &str = "to-browser";
/// The pipe into which it writes, its descriptor 4.
const ANSWERS: &str = "from-browser";
/// The end of each message.
const END: &[u8] = b"\0";
/// The pause between two checks whether the pipes are free.
const LOOKS_EVERY: Duration = Duration::from_millis(20);

/// Where commands go in, and where answers come out, message by message.
pub(super) type Commands = FramedWrite<Sender, AnyDelimiterCodec>;
pub(super) type Answers = FramedRead<Receiver, AnyDelimiterCodec>;

/// The right to use the pipes. Dropping it ends the session.
pub(super) struct Turn {
    commands: File,
    /// The session, once there is one.
    pub(super) session: Arc<OnceLock<String>>,
    /// The folder, locked. Its lock is released after the fields above are dropped.
    _lock: File,
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(session) = self.session.get() {
            let leave = json!({"id": 0, "method": "Target.detachFromTarget", "params": {"sessionId": session}});
            // Short enough for the pipe to take as a whole. The first byte ends a command that was begun. A browser
            // that reads nothing keeps an unused session.
            let _ = self.commands.write_all(format!("\0{leave}\0").as_bytes());
        }
    }
}

/// Opens a folder in which no other user can reach the pipes or lock them.
fn private(folder: &Path) -> Result<File, &'static str> {
    // Opening a pipe that is given instead of its folder would block.
    let flags = (OFlags::DIRECTORY | OFlags::NONBLOCK).bits().cast_signed();
    let opened = fs::OpenOptions::new().read(true).custom_flags(flags).open(folder);
    let opened = opened.map_err(|_| "the folder of its pipes can't be opened")?;
    let facts = opened.metadata().map_err(|_| "the folder of its pipes can't be examined")?;
    if facts.uid() != rustix::process::geteuid().as_raw() || facts.mode() & 0o077 != 0 {
        return Err("others may reach its pipes: the folder must belong to the user that fills, with chmod 700");
    }
    Ok(opened)
}

/// Opens the pipes once no other program uses them. An answer has at most `bytes_max` bytes.
///
/// # Errors
/// The obstacle.
pub(super) async fn open(
    folder: &Path,
    within: Duration,
    bytes_max: usize,
) -> Result<(Commands, Answers, Turn), &'static str> {
    let none = |cause: io::Error| {
        if cause.kind() == io::ErrorKind::PermissionDenied {
            "its pipes may not be opened; restart what fills if their folder is newer than that"
        } else {
            "the folder does not hold its pipes: mkfifo to-browser from-browser"
        }
    };
    let lock = private(folder)?;
    let begun = Instant::now();
    while let Err(taken) = lock.try_lock() {
        if matches!(taken, TryLockError::Error(_)) {
            return Err("the folder of its pipes can't be locked");
        }
        if begun.elapsed() >= within {
            return Err("other fills use its pipes all the time; try again");
        }
        sleep(LOOKS_EVERY).await;
    }
    let answers = OpenOptions::new().open_receiver(folder.join(ANSWERS)).map_err(none)?;
    let commands =
        OpenOptions::new().open_sender(folder.join(COMMANDS)).map_err(|cause| match cause.raw_os_error() {
            Some(code) if code == rustix::io::Errno::NXIO.raw_os_error() => {
                "no browser reads its pipe; start it with --remote-debugging-pipe 3<>to-browser 4<>from-browser"
            }
            _ => none(cause),
        })?;
    let mut turn = Turn {
        commands: commands.as_fd().try_clone_to_owned().map_err(none)?.into(),
        session: Arc::default(),
        _lock: lock,
    };
    // Ends a command that a killed program had begun to write.
    turn.commands.write_all(END).map_err(|_| "it does not read its pipe")?;
    let codec = || AnyDelimiterCodec::new_with_max_length(END.to_vec(), END.to_vec(), bytes_max);
    Ok((FramedWrite::new(commands, codec()), FramedRead::new(answers, codec()), turn))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    async fn refusal(folder: &Path) -> &'static str {
        open(folder, Duration::ZERO, 1).await.map(drop).unwrap_err()
    }

    #[tokio::test]
    async fn what_is_no_folder_of_this_user_alone_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let chmod = |mode| fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
        chmod(0o700);
        assert!(refusal(folder.path()).await.contains("mkfifo"));
        for mode in [0o755, 0o710, 0o702] {
            chmod(mode);
            assert!(refusal(folder.path()).await.contains("chmod 700"), "{mode:o}");
        }
        chmod(0o700);
        let pipe = folder.path().join(COMMANDS);
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert!(refusal(&pipe).await.contains("folder of its pipes can't be opened"), "its writers are not waited for");
    }
}
