//! The names that a shell offers while a person types one, each with a description.

use std::collections::HashMap;

use crate::{
    domain::{api_key::ApiKey, principal::Principal, seat::Seat, secret::TotpSecret, text::ShownText},
    operations::{Count, EverySeat, ListKeys, ListSecrets, Refusal, Service},
};

/// Punctuation without a special meaning in any shell.
const HARMLESS: [char; 6] = ['@', '.', '_', '+', '-', '%'];

/// A name, and its description.
pub type Offered = (String, Option<String>);

/// The names of secrets that begin with `typed`, as they are or in lower case: the label where no other secret has it,
/// and the id otherwise. If `typed` is not empty, also the issuer where it matches one secret alone.
///
/// # Errors
/// [`Refusal`].
pub async fn names_of_secrets(
    service: &Service,
    person: &Principal,
    most: u32,
    typed: &str,
) -> Result<Vec<Offered>, Refusal> {
    let page = ListSecrets { limit: Count::new(most), ..ListSecrets::default() };
    let secrets = service.perform(person, page).await?.secrets;
    Ok(names_among(&secrets, typed))
}

fn names_among(secrets: &[TotpSecret], typed: &str) -> Vec<Offered> {
    let label = |secret: &TotpSecret| secret.metadata.label.as_str().to_owned();
    let issuer = |secret: &TotpSecret| secret.metadata.issuer.as_ref().map(ShownText::as_str).map(str::to_owned);
    let mut labels: HashMap<String, usize> = HashMap::new();
    for secret in secrets {
        *labels.entry(label(secret).to_lowercase()).or_default() += 1;
    }
    let is_alone = |name: &str| {
        let name = name.to_lowercase();
        let has = |text: String| text.to_lowercase().contains(&name);
        let of = |secret: &&TotpSecret| has(label(secret)) || issuer(secret).is_some_and(has);
        secrets.iter().filter(of).nth(1).is_none()
    };
    let offers = |secret: &TotpSecret| {
        let (label, issuer) = (label(secret), issuer(secret));
        let by_issuer = issuer.clone().filter(|issuer| !typed.is_empty() && is_word(issuer));
        let by_issuer = by_issuer.and_then(|issuer| continued(&issuer, typed)).filter(|issuer| is_alone(issuer));
        let name = if labels.get(&label.to_lowercase()) == Some(&1) && is_word(&label) {
            continued(&label, typed).map(|name| (name, issuer))
        } else {
            let words = issuer.map_or(label.clone(), |issuer| format!("{issuer} {label}"));
            continued(&secret.id.to_string(), typed).map(|id| (id, Some(words)))
        };
        by_issuer.map(|issuer| (issuer, Some(label))).into_iter().chain(name)
    };
    secrets.iter().flat_map(offers).collect()
}

/// The name as it is or in lower case, whichever begins with `typed`.
fn continued(name: &str, typed: &str) -> Option<String> {
    [name.to_owned(), name.to_lowercase()].into_iter().find(|name| name.starts_with(typed))
}

/// The e-mail addresses of seats, or the id where a shell would not read the address as one word.
///
/// # Errors
/// [`Refusal`].
pub async fn names_of_seats(service: &Service, person: &Principal) -> Result<Vec<Offered>, Refusal> {
    let seats = service.perform(person, EverySeat).await?;
    let offer = |seat: &Seat| {
        let email = seat.profile.email.as_str().to_owned();
        if is_word(&email) { (email, None) } else { (seat.id.to_string(), Some(email)) }
    };
    Ok(seats.iter().map(offer).collect())
}

/// The names of keys, or the id where a shell would not read the name as one word.
///
/// # Errors
/// [`Refusal`].
pub async fn names_of_keys(service: &Service, person: &Principal) -> Result<Vec<Offered>, Refusal> {
    let keys = service.perform(person, ListKeys).await?;
    let offer = |key: &ApiKey| {
        let name = key.name.as_str().to_owned();
        if is_word(&name) { (name, None) } else { (key.id.to_string(), Some(name)) }
    };
    Ok(keys.sound.iter().map(offer).collect())
}

/// Whether a shell reads a name as one word, and as nothing else. The shell inserts it into the command line as it is,
/// and an agent may have chosen it: text that the shell would execute must not get there.
fn is_word(name: &str) -> bool {
    !name.starts_with(['-', '%']) && name.chars().all(|c| c.is_alphanumeric() || HARMLESS.contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shell_would_carry_out_is_no_word() {
        for word in ["ada", "ada@example.com", "a.b+c-d_e", "müller", "山"] {
            assert!(is_word(word), "{word}");
        }
        for other in [
            "$(id)", "`id`", "a b", "a;b", "a&b", "a|b", "a>b", "~ada", "a'b", "a\"b", "a\\b", "--yes", "a*", "!1",
            "a:b", "a=b", "(a)", "#a",
        ] {
            assert!(!is_word(other), "{other}");
        }
    }
}
