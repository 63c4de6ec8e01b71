//! 2FAS: `{schemaVersion, services}`, or `servicesEncrypted` in place of the services.

use zeroize::Zeroizing;

use super::{
    Format, Import, ImportError, Opened,
    entry::{Entry, Key, Kind, Number, Place, RawEntry},
    json::Json,
    said::Said,
    sealed::{How, Kdf, Locked, base64, gcm, json_of},
    uri::{self, Beside, StatedParameters},
};

/// Rounds of the key derivation, the same in every version.
const ROUNDS: Number = Number::Is(10_000);

/// An encrypted backup.
pub(super) struct Sealed {
    services: Part,
    /// A known text, encrypted in the same way, by which the app checks a password.
    reference: Option<Part>,
}

/// An encrypted text, with a salt of its own.
struct Part {
    sealed: Vec<u8>,
    salt: Vec<u8>,
    nonce: Vec<u8>,
}

/// Reads a backup.
pub(super) fn read(json: &Json) -> Result<Opened, ImportError> {
    let sealed = json.get("servicesEncrypted").text();
    if sealed.is_empty() {
        return Ok(Opened::Read(services(json.get("services"))));
    }
    let reference = json.get("reference").text();
    let reference = if reference.is_empty() { None } else { Some(Part::read(reference)?) };
    let sealed = Sealed { services: Part::read(sealed)?, reference };
    Ok(Opened::Locked(Locked::new(Format::TwoFas, How::TwoFas(sealed))))
}

impl Part {
    /// Reads ciphertext, salt and nonce.
    fn read(text: &str) -> Result<Self, ImportError> {
        let mut parts = text.split(':').map(base64);
        match (parts.next(), parts.next(), parts.next()) {
            (Some(sealed), Some(salt), Some(nonce)) => Ok(Self { sealed: sealed?, salt: salt?, nonce: nonce? }),
            _ => Err(ImportError::Damaged),
        }
    }

    fn open(&self, passphrase: &str) -> Result<Option<Zeroizing<Vec<u8>>>, ImportError> {
        let key = Kdf::pbkdf2_sha256(ROUNDS)?.derive(passphrase.as_bytes(), &self.salt)?;
        Ok(gcm(&key, &self.nonce, &self.sealed, &[]))
    }
}

impl Sealed {
    pub(super) fn open(&self, passphrase: &str) -> Result<Import, ImportError> {
        if let Some(plain) = self.services.open(passphrase)? {
            return Ok(services(&json_of(&plain)?));
        }
        Err(match &self.reference {
            None => ImportError::WrongPassphraseOrDamaged,
            Some(reference) if reference.open(passphrase)?.is_some() => ImportError::Damaged,
            Some(_) => ImportError::WrongPassphrase,
        })
    }
}

/// Reads the services.
fn services(json: &Json) -> Import {
    let said = Said::default();
    Import::of_list(Format::TwoFas, json.list(), |item, place| entry(item, place, &said))
}

fn entry(json: &Json, place: Place, said: &Said) -> Entry {
    let otp = json.get("otp");
    let name = json.first_text(&["name"]);
    let issuer = if name.is_empty() { otp.first_text(&["issuer"]) } else { name };
    let account = otp.first_text(&["account", "label"]);
    // The link that the service was made of gives what its own fields leave out.
    let secret = json.get("secret").word();
    let linked = uri::link(otp.get("link").text(), Beside::default(), place).read.ok();
    let linked = linked.filter(|linked| linked.seed.is_in(secret)).map(|linked| StatedParameters::of(linked.totp));
    let linked = linked.unwrap_or_default();
    let or = |own: Number, linked: Number| if own == Number::Absent { linked } else { own };
    let algorithm = otp.get("algorithm").word();
    let raw = RawEntry {
        kind: Kind::of_word(otp.get("tokenType").word()),
        issuer,
        account,
        key: Key::Text(secret),
        algorithm: if algorithm.is_empty() { linked.algorithm } else { algorithm },
        digits: or(otp.get("digits").number().unless_zero(), linked.digits),
        period: or(otp.get("period").number().unless_zero(), linked.period),
    };
    said.entry(raw, json, place)
}
