//! The record of a seat.

use serde::{Deserialize, Serialize};

use super::{Stored, from_json, to_json};
use crate::{
    domain::{
        ids::{AccountId, SeatId},
        seat::{Seat, SeatProfile},
        text::{AuthSubject, Email, PhoneNumber, ShownText},
        time::Timestamp,
    },
    store::{Finders, Kind, Record},
    vault::{keyring::Keyring, names::Named},
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    email: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    forwarding_number: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    auth_subject: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    codes_per_hour: Option<u32>,
}

impl Keyring {
    /// The index entry of a seat's e-mail address, which is compared without case.
    pub(in crate::vault) fn email_hash(&self, email: &Email) -> [u8; 32] {
        self.name_hash(Named::SeatEmail, &email.as_str().to_lowercase())
    }
}

impl Stored for Seat {
    const KIND: Kind = Kind::Seat;

    fn id(&self) -> Vec<u8> {
        self.id.as_bytes().to_vec()
    }

    fn account(&self) -> Option<AccountId> {
        Some(self.account)
    }

    fn sort(&self) -> i64 {
        self.created_at.micros()
    }

    fn body(&self) -> Vec<u8> {
        let SeatProfile { email, first_name, last_name, forwarding_number, auth_subject, codes_per_hour } =
            &self.profile;
        to_json(&Body {
            email: email.to_string(),
            first_name: first_name.as_ref().map(ShownText::to_string),
            last_name: last_name.as_ref().map(ShownText::to_string),
            forwarding_number: forwarding_number.as_ref().map(PhoneNumber::to_string),
            auth_subject: auth_subject.as_ref().map(AuthSubject::to_string),
            codes_per_hour: *codes_per_hour,
        })
    }

    fn read(record: &Record) -> Option<Self> {
        let body: Body = from_json(&record.body)?;
        Some(Self {
            id: SeatId::from_slice(&record.key.id).ok()?,
            account: record.account?,
            created_at: Timestamp::from_micros(record.sort),
            profile: SeatProfile {
                email: Email::kept(body.email),
                first_name: body.first_name.map(ShownText::kept),
                last_name: body.last_name.map(ShownText::kept),
                forwarding_number: body.forwarding_number.map(PhoneNumber::kept),
                auth_subject: body.auth_subject.map(AuthSubject::kept),
                codes_per_hour: body.codes_per_hour,
            },
        })
    }

    fn finders(&self, keyring: &Keyring) -> Finders {
        let mut names = vec![keyring.email_hash(&self.profile.email)];
        let subject = self.profile.auth_subject.as_ref();
        names.extend(subject.map(|subject| keyring.name_hash(Named::SeatSubject, subject.as_str())));
        Finders { names, words: Vec::new() }
    }
}
