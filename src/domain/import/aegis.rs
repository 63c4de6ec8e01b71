//! Aegis: `{version, header, db}`, where `db` is an object, or text if it is encrypted: by a master key, which each
//! password's slot holds encrypted.

use zeroize::Zeroizing;

use super::{
    Format, Import, ImportError, Opened,
    entry::{Entry, Key, Kind, Number, Place, RawEntry},
    json::Json,
    said::Said,
    sealed::{How, Kdf, Locked, base64, gcm, hex, json_of},
};
use crate::domain::limits::IMPORT_SLOTS_BLOCKS_MAX;

/// The type of a slot that a password opens. The others are for keys in a phone's hardware.
const PASSWORD_SLOT: Number = Number::Is(1);

/// An encrypted backup.
pub(super) struct Sealed {
    slots: Vec<Slot>,
    /// Whether these are all of its slots.
    is_whole: bool,
    nonce: Vec<u8>,
    /// The encrypted database, with its tag at the end.
    database: Vec<u8>,
}

/// A master key, encrypted by a password.
struct Slot {
    kdf: Kdf,
    salt: Vec<u8>,
    nonce: Vec<u8>,
    /// The encrypted master key, with its tag at the end.
    key: Vec<u8>,
}

/// Reads a backup.
pub(super) fn read(json: &Json) -> Result<Opened, ImportError> {
    if !json.get("db").is_text() {
        return Ok(Opened::Read(database(json.get("db"))));
    }
    let header = json.get("header");
    let slots = header.get("slots").list().iter().filter(|slot| slot.get("type").number() == PASSWORD_SLOT);
    let slots: Vec<Slot> = slots.map(Slot::read).collect::<Result<_, _>>()?;
    if slots.is_empty() {
        return Err(ImportError::Refused(
            "no password opens this backup of Aegis, only the phone's own key; export it again",
        ));
    }
    let (slots, is_whole) = affordable(slots);
    let params = header.get("params");
    let (mut database, tag) = (base64(json.get("db").text())?, hex(params.get("tag").text())?);
    database.extend(tag);
    let sealed = Sealed { slots, is_whole, nonce: hex(params.get("nonce").text())?, database };
    Ok(Opened::Locked(Locked::new(Format::Aegis, How::Aegis(sealed))))
}

/// The first slots, as far as trying them takes no longer than an import may, and whether they are all.
fn affordable(mut slots: Vec<Slot>) -> (Vec<Slot>, bool) {
    let (mut blocks, all) = (0_u64, slots.len());
    slots.retain(|slot| {
        blocks = blocks.saturating_add(slot.kdf.scrypt_blocks());
        blocks <= IMPORT_SLOTS_BLOCKS_MAX
    });
    let is_whole = slots.len() == all;
    (slots, is_whole)
}

impl Slot {
    fn read(json: &Json) -> Result<Self, ImportError> {
        let params = json.get("key_params");
        let (mut key, tag) = (hex(json.get("key").text())?, hex(params.get("tag").text())?);
        key.extend(tag);
        Ok(Self {
            kdf: Kdf::scrypt(json.get("n").number(), json.get("r").number(), json.get("p").number())?,
            salt: hex(json.get("salt").text())?,
            nonce: hex(params.get("nonce").text())?,
            key,
        })
    }
}

impl Sealed {
    /// The memory that the costliest of its slots takes.
    pub(super) fn memory(&self) -> u64 {
        self.slots.iter().map(|slot| slot.kdf.memory()).max().unwrap_or_default()
    }

    pub(super) fn open(&self, passphrase: &str) -> Result<Import, ImportError> {
        for slot in &self.slots {
            let key = slot.kdf.derive(passphrase.as_bytes(), &slot.salt)?;
            let Some(master) = gcm(&key, &slot.nonce, &slot.key, &[]) else { continue };
            let master: &[u8; 32] = master.as_slice().try_into().map_err(|_| ImportError::Damaged)?;
            let plain: Zeroizing<Vec<u8>> =
                gcm(master, &self.nonce, &self.database, &[]).ok_or(ImportError::Damaged)?;
            return Ok(database(&json_of(&plain)?));
        }
        Err(if self.is_whole {
            ImportError::WrongPassphrase
        } else {
            ImportError::WrongPassphraseOfMany(self.slots.len())
        })
    }
}

/// Reads the part that may be encrypted.
fn database(json: &Json) -> Import {
    let said = Said::default();
    let mut import =
        Import::of_list(Format::Aegis, json.get("entries").list(), |item, place| entry(item, place, &said));
    import.count_beside(json, "entries");
    import
}

fn entry(json: &Json, place: Place, said: &Said) -> Entry {
    let info = json.get("info");
    let raw = RawEntry {
        kind: Kind::of_word(json.get("type").word()),
        issuer: json.get("issuer").text(),
        account: json.get("name").text(),
        key: Key::Text(info.get("secret").word()),
        algorithm: info.get("algo").word(),
        digits: info.get("digits").number(),
        period: info.get("period").number(),
    };
    said.entry(raw, json, place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_beyond_what_an_import_may_take_are_not_tried_and_that_is_said() {
        let slots = |count: usize, cost: u64| {
            let kdf = Kdf::scrypt(Number::Is(cost), Number::Is(8), Number::Is(1)).unwrap();
            let slot = || Slot { kdf, salt: Vec::new(), nonce: Vec::new(), key: Vec::new() };
            affordable(std::iter::repeat_with(slot).take(count).collect())
        };
        for (count, cost, tried) in [(10, 1 << 20, 10), (11, 1 << 20, 10), (320, 1 << 15, 320), (1000, 1 << 15, 320)] {
            let (slots, is_whole) = slots(count, cost);
            assert_eq!((slots.len(), is_whole), (tried, tried == count));
        }
        for (is_whole, problem) in
            [(true, ImportError::WrongPassphrase), (false, ImportError::WrongPassphraseOfMany(12))]
        {
            let sealed = Sealed { slots: slots(12, 2).0, is_whole, nonce: Vec::new(), database: Vec::new() };
            assert_eq!(sealed.open("x").map(|_| ()), Err(problem));
        }
    }

    #[test]
    fn the_memory_of_a_backup_is_that_of_its_costliest_slot() {
        let slot = |cost| {
            let kdf = Kdf::scrypt(Number::Is(cost), Number::Is(8), Number::Is(1)).unwrap();
            Slot { kdf, salt: Vec::new(), nonce: Vec::new(), key: Vec::new() }
        };
        let memory = |slots| Sealed { slots, is_whole: true, nonce: Vec::new(), database: Vec::new() }.memory();
        let most = memory(vec![slot(1 << 17)]);
        assert!(most > memory(vec![slot(1 << 10)]));
        assert_eq!(memory(vec![slot(1 << 10), slot(1 << 17)]), most);
        assert_eq!(memory(vec![slot(1 << 17), slot(1 << 10)]), most);
    }
}
