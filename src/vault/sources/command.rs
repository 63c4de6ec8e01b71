//! The output of a command, such as a client of a key management service. No shell runs it, its input is empty, and its
//! standard error is for the person alone.

use std::{process::Stdio, time::Duration};

use tokio::{
    io::AsyncReadExt as _,
    process::{Child, Command},
    time::timeout,
};
use zeroize::Zeroizing;

use super::{KEY_BYTES_MAX, KeyError, key_of};
use crate::vault::key::Kek;

/// How long the command may take: a person may have to touch a device.
const TIME: Duration = Duration::from_secs(30);

/// Runs the command and reads its key.
pub(super) async fn key(words: &[String]) -> Result<Kek, KeyError> {
    key_within(words, TIME).await
}

async fn key_within(words: &[String], time: Duration) -> Result<Kek, KeyError> {
    let program = words.first().cloned().unwrap_or_default();
    let failed = |what: String| KeyError::Command { program: program.clone(), what };
    let mut command = Command::new(&program);
    command.args(words.iter().skip(1)).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|cause| failed(format!("can't be started: {cause}")))?;
    let answered = timeout(time, output_of(&mut child)).await;
    let (status, output) = match answered {
        Ok(Ok(Some(answered))) => answered,
        Ok(Ok(None)) => {
            stop(&mut child).await;
            return Err(failed("printed more than a key".to_owned()));
        }
        Ok(Err(cause)) => {
            stop(&mut child).await;
            return Err(failed(format!("can't be read: {cause}")));
        }
        Err(_) => {
            stop(&mut child).await;
            return Err(failed(format!("gave no key within {} seconds", time.as_secs())));
        }
    };
    if !status.success() {
        return Err(failed(match status.code() {
            Some(code) => format!("failed with status {code}"),
            None => "was killed".to_owned(),
        }));
    }
    let form = "printed no key: 32 bytes as they are, or in base64 or hexadecimal with a line break";
    key_of(&output).ok_or_else(|| failed(form.to_owned()))
}

/// The status and the output; `None`: the output is too long.
async fn output_of(child: &mut Child) -> std::io::Result<Option<(std::process::ExitStatus, Zeroizing<Vec<u8>>)>> {
    let most = KEY_BYTES_MAX as u64 + 1;
    let mut output = Zeroizing::new(Vec::with_capacity(KEY_BYTES_MAX * 2));
    if let Some(out) = child.stdout.take() {
        out.take(most).read_to_end(&mut output).await?;
    }
    if output.len() > KEY_BYTES_MAX {
        return Ok(None);
    }
    Ok(Some((child.wait().await?, output)))
}

async fn stop(child: &mut Child) {
    // The command may have ended by itself.
    let _ = child.kill().await;
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    async fn key_of(script: &str, time: Duration) -> Result<[u8; 32], String> {
        let words = ["sh", "-c", script, "geheim"].map(str::to_owned);
        let key = key_within(&words, time).await;
        key.map(|kek| *kek.0.expose()).map_err(|error| {
            let said = format!("{error} {error:?}");
            assert!(!said.contains("geheim") && !said.contains("printf"), "{said}");
            error.to_string()
        })
    }

    #[tokio::test]
    async fn the_output_of_a_command_is_the_key() {
        let hex = "00".repeat(31) + "ff";
        let key = key_of(&format!("printf {hex}"), TIME).await.unwrap();
        assert_eq!((key[0], key[31]), (0, 255));
        assert!(key_of("printf '\\377%.0s' $(seq 32)", TIME).await.is_ok());
    }

    #[tokio::test]
    async fn a_command_that_fails_or_prints_no_key_is_named_without_its_arguments() {
        for (script, why) in [
            ("exit 3", "the command of the key, sh, failed with status 3"),
            ("kill -9 $$", "the command of the key, sh, was killed"),
            ("true", "the command of the key, sh, printed no key"),
            ("printf short", "the command of the key, sh, printed no key"),
            ("yes", "the command of the key, sh, printed more than a key"),
        ] {
            let said = key_of(script, TIME).await.unwrap_err();
            assert!(said.starts_with(why), "{script}: {said}");
        }
        for (length, why) in [(KEY_BYTES_MAX, "no key"), (KEY_BYTES_MAX + 1, "more than a key")] {
            let said = key_of(&format!("printf %0{length}d 0"), TIME).await.unwrap_err();
            assert!(said.contains(&format!("printed {why}")), "{length}: {said}");
        }
        let none = key_within(&["/nowhere/kms".to_owned()], TIME).await.map(|_| ()).unwrap_err().to_string();
        assert!(none.starts_with("the command of the key, /nowhere/kms, can't be started: "), "{none}");
    }

    #[tokio::test]
    async fn a_command_that_takes_too_long_is_killed() {
        let said = key_of("exec sleep 1000", Duration::from_millis(50)).await.unwrap_err();
        assert_eq!(said, "the command of the key, sh, gave no key within 0 seconds");
    }
}
