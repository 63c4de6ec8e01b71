//! Sessions of handshake clients that any node of a vault may serve, and the messages that nodes send each other.
//!
//! The sealed data of a session opens with the vault's key together with the session's id, which only its client and
//! the node that serves it know. So it depends on no data key, and a rotation need not touch it.

use zeroize::Zeroizing;

use super::{
    CHUNK, Draft, Page, Vault, Versioned,
    key::Key,
    keyring::Keyring,
    seal::{self, Bound, Column},
};
use crate::{
    domain::{
        session::{Letter, NodeId, Session, SessionOwner, SessionTag},
        time::Timestamp,
    },
    store::{Kind, List, RecordKey, StoreError},
};

impl Keyring {
    /// The index entry of an owner's sessions; `None`: of the sessions of all owners.
    pub(super) fn sessions_word(&self, owner: Option<&SessionOwner>) -> [u8; 8] {
        let Some(SessionOwner { account, actor, seat }) = owner else {
            return word(&self.fingerprint("sessions", &[]));
        };
        let key = actor.key().map(|key| key.to_string()).unwrap_or_default();
        let seat: &[u8] = seat.as_ref().map_or(&[], |seat| seat.as_bytes());
        let fields: [&[u8]; 4] = [account.as_bytes(), actor.kind().as_bytes(), key.as_bytes(), seat];
        word(&self.fingerprint("sessions-of", &fields))
    }

    /// The index entry of the letters to a node.
    pub(super) fn node_word(&self, node: NodeId) -> [u8; 8] {
        word(&self.fingerprint("letters-to", &[&node]))
    }

    /// The index entry of the letters of a session.
    pub(super) fn letters_word(&self, session: &SessionTag) -> [u8; 8] {
        word(&self.fingerprint("letters-of", &[session]))
    }
}

fn word(mac: &[u8; 32]) -> [u8; 8] {
    std::array::from_fn(|nth| mac.get(nth).copied().unwrap_or_default())
}

impl Vault {
    /// Whether other machines may serve the same vault, because it is on a server.
    pub fn is_shared(&self) -> bool {
        self.clock().is_some()
    }

    /// The stored form of a session's id.
    pub fn session_tag(&self, id: &str) -> SessionTag {
        self.fingerprint("session", &[id.as_bytes()])
    }

    /// Sessions, in the order of their tags; `None`: the session does not exist, or its record is damaged.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn sessions(&self, tags: &[SessionTag]) -> Result<Vec<Option<Versioned<Session>>>, StoreError> {
        let keys: Vec<_> = tags.iter().map(|tag| RecordKey::new(Kind::Session, tag.as_slice())).collect();
        let found = self.store().read(&keys).await?;
        Ok(keys.iter().zip(found).map(|(key, record)| self.kept(key, record?).ok()).collect())
    }

    /// The sessions over Streamable HTTP of an owner, the longest idle first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn sessions_of(&self, owner: &SessionOwner) -> Result<Vec<Versioned<Session>>, StoreError> {
        let listed = self.listed::<Session>(self.list_of_sessions(Some(owner)), Page::ALL).await?;
        Ok(listed.sound.into_iter().filter(|kept| kept.owner == *owner).collect())
    }

    /// The number of sessions over Streamable HTTP, of one owner or in all.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn count_sessions(&self, owner: Option<&SessionOwner>) -> Result<u64, StoreError> {
        self.store().count(&self.list_of_sessions(owner)).await
    }

    fn list_of_sessions(&self, owner: Option<&SessionOwner>) -> List {
        List { words: vec![self.keyring().sessions_word(owner)], ..List::of(Kind::Session, None, CHUNK) }
    }

    /// The first letters to a node, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn letters_to(&self, node: NodeId, limit: u32) -> Result<Vec<Versioned<Letter>>, StoreError> {
        let list = List { words: vec![self.keyring().node_word(node)], ..List::of(Kind::Letter, None, limit) };
        let listed = self.listed::<Letter>(list, Page { offset: 0, limit: Some(limit) }).await?;
        Ok(listed.sound.into_iter().filter(|kept| kept.to == node).collect())
    }

    /// The number of letters of a session, or of all sessions.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn count_letters(&self, session: Option<&SessionTag>) -> Result<u64, StoreError> {
        let words = session.map(|session| self.keyring().letters_word(session)).into_iter().collect();
        self.store().count(&List { words, ..List::of(Kind::Letter, None, CHUNK) }).await
    }

    /// Removes the sessions that were last used before a time, and older letters.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn end_idle_sessions(&self, idle: Timestamp, sent: Timestamp) -> Result<(), StoreError> {
        self.remove_before(Kind::Session, idle).await?;
        self.remove_before(Kind::Letter, sent).await
    }

    /// Begins the removal of sessions or letters. Stale: one of them was used or removed meanwhile.
    pub fn removal<'k, T: 'k>(&self, kept: impl IntoIterator<Item = &'k Versioned<T>>) -> Draft<'_> {
        kept.into_iter().fold(self.silent_draft(), Draft::remove)
    }

    /// Seals the data of a session.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: there is no randomness.
    pub fn seal_for_session(&self, id: &str, plain: &[u8]) -> Result<Vec<u8>, StoreError> {
        Ok(seal::seal(&self.session_key(id), 0, &self.session_bound(), plain, self.core.random.as_ref())?)
    }

    /// Opens the sealed data of a session. `None`: it was sealed for another session.
    pub fn open_for_session(&self, id: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        seal::open(&self.session_key(id), &self.session_bound(), sealed).ok()
    }

    fn session_key(&self, id: &str) -> Key {
        Key::of(&Zeroizing::new(self.fingerprint("session-key", &[id.as_bytes()])))
    }

    fn session_bound(&self) -> Bound {
        Bound::to_number(self.keyring().vault(), Column::Session, 0)
    }
}
