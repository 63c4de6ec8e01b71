//! Proton Authenticator (`{version, entries}`) and Proton Pass (`{vaults}`, the `data.json` of its archive).

use super::{
    Format, Import, ImportError, Opened,
    entry::{Number, Place, RawEntry, Skip},
    item::Item,
    json::Json,
    said::Said,
    sealed::{How, Kdf, Locked, base64, gcm, json_of},
    uri::{self, Beside},
};

/// The state of an item in the trash of Proton Pass.
const TRASHED: u64 = 2;

/// KiB, passes and lanes of Argon2 in Proton Authenticator.
const ARGON2: [u64; 3] = [19 * 1024, 2, 1];
/// The associated data of the encryption.
const BOUND_TO: &[u8] = b"proton.authenticator.export.v1";

/// An encrypted export of Proton Authenticator.
pub(super) struct Sealed {
    pub(super) kdf: Kdf,
    salt: Vec<u8>,
    /// Nonce, ciphertext and tag.
    content: Vec<u8>,
}

/// Reads an encrypted export of Proton Authenticator.
pub(super) fn locked(json: &Json) -> Result<Opened, ImportError> {
    let [kib, passes, lanes] = ARGON2.map(Number::Is);
    let sealed = Sealed {
        kdf: Kdf::argon2id(kib, passes, lanes)?,
        salt: base64(json.get("salt").text())?,
        content: base64(json.get("content").text())?,
    };
    Ok(Opened::Locked(Locked::new(Format::ProtonAuthenticator, How::Proton(sealed))))
}

impl Sealed {
    pub(super) fn open(&self, passphrase: &str) -> Result<Import, ImportError> {
        let key = self.kdf.derive(passphrase.as_bytes(), &self.salt)?;
        let (nonce, sealed) = self.content.split_at_checked(12).ok_or(ImportError::Truncated)?;
        let plain = gcm(&key, nonce, sealed, BOUND_TO).ok_or(ImportError::WrongPassphraseOrDamaged)?;
        Ok(authenticator(&json_of(&plain)?))
    }
}

/// Reads an export of Proton Authenticator.
pub(super) fn authenticator(json: &Json) -> Import {
    let said = Said::default();
    Import::of_list(Format::ProtonAuthenticator, json.get("entries").list(), |item, place| {
        let content = item.get("content");
        let (name, uri) = (content.get("name").text(), content.get("uri").word());
        if uri.contains("://") {
            uri::link(uri, Beside { issuer: name, account: name, ..Beside::default() }, place)
        } else {
            said.entry(RawEntry::plain(name, name, uri), content, place)
        }
    })
}

/// Reads an export of Proton Pass: a login has a seed of its own, and items of all types more in fields that people add.
pub(super) fn pass(json: &Json) -> Import {
    let mut import = Import::new(Format::ProtonPass);
    let items = json.get("vaults").fields().flat_map(|(_, vault)| vault.get("items").list());
    for (index, item) in items.enumerate() {
        let data = item.get("data");
        let content = data.get("content");
        // Old versions have one field for both.
        let account = content.first_text(&["itemUsername", "itemEmail", "username"]);
        let beside = Beside { issuer: data.at(&["metadata", "name"]).text(), account, ..Beside::default() };
        let why = if item.get("state").number() == Number::Is(TRASHED) {
            Some(Skip::Trashed)
        } else {
            item.repeated().then_some(Skip::Repeated)
        };
        let mut found = Item::new(beside, Place::nth(index), why);
        found.own(content.get("totpUri").word(), None);
        let sections = content.get("sections").list().iter().flat_map(|section| section.get("sectionFields").list());
        for field in data.get("extraFields").list().iter().chain(item.get("extraFields").list()).chain(sections) {
            found.own(field.at(&["data", "totpUri"]).word(), None);
            found.field_of(field.get("fieldName").text(), field.at(&["data", "content"]));
        }
        found.scan_all(item);
        found.field("note", data.at(&["metadata", "note"]).text());
        import.entries.append(&mut found.entries());
    }
    import
}
