//! Bitwarden and Bitwarden Authenticator: `{encrypted, items}`; a seed belongs to a login.

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{
    Format, Import, ImportError, Opened,
    entry::{Number, Place, Skip},
    item::Item,
    json::Json,
    sealed::{How, Kdf, Key, Locked, base64, cbc, json_of},
    uri::Beside,
};

/// An export that is protected by a password.
pub(super) struct Sealed {
    pub(super) kdf: Kdf,
    salt: Vec<u8>,
    /// A known kind of text, by which a password is checked.
    validation: Part,
    data: Part,
}

/// An encrypted text: `2.IV|CIPHERTEXT|MAC`.
struct Part {
    iv: Vec<u8>,
    sealed: Vec<u8>,
    mac: Vec<u8>,
}

/// Whether a document is an export of Bitwarden.
pub(super) fn is_export(json: &Json) -> bool {
    let items = json.get("items").list();
    let is_other = items.iter().any(|item| item.is_text() || item.has("title") && !item.has("name"));
    json.get("encrypted").is_true()
        || json.has("items") && (json.has("folders") || json.has("collections") || json.has("encrypted")) && !is_other
}

/// Reads an export.
pub(super) fn read(json: &Json) -> Result<Opened, ImportError> {
    if !json.get("encrypted").is_true() {
        return Ok(Opened::Read(items(json)));
    }
    if !json.get("passwordProtected").is_true() {
        return Err(ImportError::Refused(
            "an export that is encrypted for its Bitwarden account, and nothing else can open it; export it again as \
             \"password protected\" or .json",
        ));
    }
    // The salt is the text itself, not the bytes that it encodes.
    let salt = json.get("salt").text().as_bytes();
    let (rounds, memory) = (json.get("kdfIterations").number(), json.get("kdfMemory").number());
    let (kdf, salt) = match json.get("kdfType").number() {
        Number::Is(0) => (Kdf::pbkdf2_sha256(rounds)?, salt.to_vec()),
        Number::Is(1) => {
            let kib = match memory {
                Number::Is(mib) => Number::Is(mib.saturating_mul(1024)),
                other @ (Number::Absent | Number::Wrong) => other,
            };
            (Kdf::argon2id(kib, rounds, json.get("kdfParallelism").number())?, Sha256::digest(salt).to_vec())
        }
        Number::Is(_) | Number::Absent | Number::Wrong => {
            return Err(ImportError::Bounds("the kind of key derivation"));
        }
    };
    let part = |name| Part::read(json.get(name).text());
    let sealed = Sealed { kdf, salt, validation: part("encKeyValidation_DO_NOT_EDIT")?, data: part("data")? };
    Ok(Opened::Locked(Locked::new(Format::Bitwarden, How::Bitwarden(sealed))))
}

impl Part {
    fn read(text: &str) -> Result<Self, ImportError> {
        let mut parts = text.strip_prefix("2.").unwrap_or_default().split('|').map(base64);
        match (parts.next(), parts.next(), parts.next()) {
            (Some(iv), Some(sealed), Some(mac)) => Ok(Self { iv: iv?, sealed: sealed?, mac: mac? }),
            _ => Err(ImportError::Damaged),
        }
    }

    /// Checks the MAC and then decrypts.
    fn open(&self, cipher: &Key, mac: &Key) -> Option<Zeroizing<Vec<u8>>> {
        let check = Hmac::<Sha256>::new_from_slice(mac.as_slice()).ok()?;
        check.chain_update(&self.iv).chain_update(&self.sealed).verify_slice(&self.mac).ok()?;
        cbc(cipher, &self.iv, &self.sealed)
    }
}

impl Sealed {
    pub(super) fn open(&self, passphrase: &str) -> Result<Import, ImportError> {
        let key = self.kdf.derive(passphrase.as_bytes(), &self.salt)?;
        let [cipher, mac] = [expanded(&key, b"enc")?, expanded(&key, b"mac")?];
        if self.validation.open(&cipher, &mac).is_none() {
            return Err(ImportError::WrongPassphrase);
        }
        let plain = self.data.open(&cipher, &mac).ok_or(ImportError::Damaged)?;
        Ok(items(&json_of(&plain)?))
    }
}

/// HKDF without its first step, as the app uses it.
fn expanded(key: &Key, info: &[u8]) -> Result<Key, ImportError> {
    let hkdf = Hkdf::<Sha256>::from_prk(key.as_slice()).map_err(|_| ImportError::Damaged)?;
    let mut out = Zeroizing::new([0_u8; 32]);
    hkdf.expand(info, out.as_mut_slice()).map_err(|_| ImportError::Damaged)?;
    Ok(out)
}

/// Reads the items. Items without a seed are no entries: most logins have none. An item may have more seeds in other
/// fields.
fn items(json: &Json) -> Import {
    let mut import = Import::new(Format::Bitwarden);
    for (index, item) in json.get("items").list().iter().enumerate() {
        let why = if item.repeated() {
            Some(Skip::Repeated)
        } else {
            item.get("deletedDate").is_text().then_some(Skip::Trashed)
        };
        let beside = Beside {
            issuer: item.get("name").text(),
            account: item.at(&["login", "username"]).text(),
            ..Beside::default()
        };
        let mut found = Item::new(beside, Place::nth(index), why);
        found.own(item.at(&["login", "totp"]).word(), None);
        found.pass_over(item.at(&["login", "totp"]));
        for field in item.get("fields").list() {
            found.field_of(field.get("name").text(), field.get("value"));
        }
        found.scan_all(item);
        found.field("notes", item.get("notes").text());
        import.entries.append(&mut found.entries());
    }
    import
}
