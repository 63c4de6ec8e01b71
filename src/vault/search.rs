//! Finds secrets by words of their issuers and labels.

use super::{CHUNK, Page, Vault, Versioned, records::SealedMetadata};
use crate::{
    domain::{
        ids::AccountId,
        name_query::NameQuery,
        secret::{SecretMetadata, TotpSecret},
        text::ShownText,
    },
    store::{Kind, Life, List, Record, StoreError},
};

/// Secrets that match a query, and the number of all matches.
#[derive(Debug, Default)]
pub struct SearchPage {
    /// The secrets of the page, oldest first.
    pub secrets: Vec<TotpSecret>,
    /// The number of all matches.
    pub total: u64,
}

impl Vault {
    /// The secrets that match words of issuer and label. Words are first looked up in the index by their beginning;
    /// only if that finds nothing, or the words are too short, every secret is searched for words in the middle of
    /// others.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find_secrets(
        &self,
        account: AccountId,
        life: Life,
        query: &str,
    ) -> Result<Vec<Versioned<TotpSecret>>, StoreError> {
        let query = NameQuery::of(query);
        if query.is_empty() {
            return Ok(Vec::new());
        }
        let words = self.keyring().query_hashes(account, &query);
        if !words.is_empty() {
            let list = List { life: Some(life), words, ..List::of(Kind::Secret, Some(account), CHUNK) };
            let records = self.page_of(list, Page::ALL).await?;
            let mut found = self.opened_all(records).await?.sound;
            found.retain(|secret| is_meant(secret, &query));
            if !found.is_empty() {
                return Ok(found);
            }
        }
        let mut meant = Vec::new();
        self.each_meant(account, life, &query, |record| meant.push(record)).await?;
        Ok(self.opened_all(meant).await?.sound)
    }

    /// A page of the live secrets that match a query anywhere in a word, and the number of all matches.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn search_secrets(&self, account: AccountId, query: &str, page: Page) -> Result<SearchPage, StoreError> {
        let (query, limit) = (NameQuery::of(query), page.limit.map_or(usize::MAX, |limit| limit as usize));
        let (mut total, mut shown) = (0, Vec::new());
        self.each_meant(account, Life::Live, &query, |record| {
            if total >= page.offset && shown.len() < limit {
                shown.push(record);
            }
            total += 1;
        })
        .await?;
        let secrets = self.opened_all(shown).await?.sound.into_iter().map(|kept| kept.value).collect();
        Ok(SearchPage { secrets, total })
    }

    /// Passes the records whose names match to `see`. Opens nothing else of each: the time of a secret's last use is in
    /// another record.
    async fn each_meant(
        &self,
        account: AccountId,
        life: Life,
        query: &NameQuery,
        mut see: impl FnMut(Record) + Send,
    ) -> Result<(), StoreError> {
        let mut list = List { life: Some(life), ..List::of(Kind::Secret, Some(account), CHUNK) };
        while let Some(chunk) = self.next_chunk(&mut list).await? {
            for record in chunk {
                let is_meant = match self.name_of(&record) {
                    Some(metadata) => names(&metadata, query),
                    // The record is damaged, or under keys that this process does not have yet.
                    None => {
                        self.opened_all(vec![record.clone()]).await?.sound.iter().any(|secret| is_meant(secret, query))
                    }
                };
                if is_meant {
                    see(record);
                }
            }
            // Opening many names takes a while; let other tasks run between the chunks.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// A secret's name, if it can be opened.
    fn name_of(&self, record: &Record) -> Option<SecretMetadata> {
        let sealed = self.keyring().open_record::<SealedMetadata>(record).ok()?;
        self.keyring().open_metadata(&sealed.sealed, &sealed.place()).ok()
    }
}

/// Whether a secret matches a query. Index entries are not under its MAC, so check the secret itself.
fn is_meant(secret: &TotpSecret, query: &NameQuery) -> bool {
    names(&secret.metadata, query)
}

fn names(SecretMetadata { label, issuer, .. }: &SecretMetadata, query: &NameQuery) -> bool {
    query.matches(issuer.as_ref().map(ShownText::as_str), label.as_str())
}
