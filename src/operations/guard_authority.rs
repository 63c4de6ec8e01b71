//! Stores the certificate authority of the guard in the vault, in the guard's own format.

use zeroize::Zeroizing;

use super::{Call, Effect, Failed, Operation, Spec, retries::Retries};
use crate::{domain::audit::Action, vault::Outcome};

/// Reads the authority of the caller's account.
#[derive(Debug)]
pub struct ReadAuthority;

/// Stores an authority, and replaces an earlier one.
pub struct KeepAuthority {
    /// All of its data, including the private key.
    pub authority: Zeroizing<Vec<u8>>,
}

impl Operation for ReadAuthority {
    const SPEC: Spec = Spec::person("read_guard_authority", Action::GuardAuthority, Effect::Read);
    type Output = Option<Zeroizing<Vec<u8>>>;

    async fn run(self, call: &mut Call<'_>) -> Result<Self::Output, Failed> {
        let found = call.service.vault().authority(call.caller.account()).await?;
        Ok(found.map(|(authority, _)| authority))
    }
}

impl Operation for KeepAuthority {
    const SPEC: Spec = Spec::person("keep_guard_authority", Action::GuardAuthority, Effect::Change);
    type Output = ();

    async fn run(self, call: &mut Call<'_>) -> Result<(), Failed> {
        let (vault, account) = (call.service.vault(), call.caller.account());
        let mut retries = Retries::new(&call.service.shared.random);
        loop {
            let before = vault.authority(account).await?.map(|(_, kept)| kept);
            let draft = vault.draft(call.entry.clone());
            let draft = vault.with_authority(draft, (account, call.entry.at), &self.authority, before.as_ref())?;
            if draft.commit().await? == Outcome::Done {
                return Ok(());
            }
            retries.again().await?;
        }
    }
}
