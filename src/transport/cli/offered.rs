//! Names that a shell offers where a person begins to type one: what would be accepted, and what it stands for.

use std::collections::HashMap;

use crate::{
    domain::{api_key::ApiKey, principal::Principal, seat::Seat, secret::TotpSecret, text::ShownText},
    operations::{Count, EverySeat, ListKeys, ListSecrets, Refusal, Service},
};

/// Punctuation that no shell reads as more than itself.
const HARMLESS: [char; 6] = ['@', '.', '_', '+', '-', '%'];

/// A name, and words about it.
pub type Offered = (String, Option<String>);

/// Names of secrets: the label where no other secret has it, and the id otherwise.
///
/// # Errors
/// [`Refusal`].
pub async fn names_of_secrets(service: &Service, person: &Principal, most: u32) -> Result<Vec<Offered>, Refusal> {
    let page = ListSecrets { limit: Count::new(most), ..ListSecrets::default() };
    let secrets = service.perform(person, page).await?.secrets;
    let folded = |secret: &TotpSecret| secret.metadata.label.as_str().to_lowercase();
    let mut labels: HashMap<String, usize> = HashMap::new();
    for secret in &secrets {
        *labels.entry(folded(secret)).or_default() += 1;
    }
    let offer = |secret: &TotpSecret| {
        let (label, issuer) =
            (secret.metadata.label.as_str().to_owned(), secret.metadata.issuer.as_ref().map(ShownText::as_str));
        if labels.get(&folded(secret)) == Some(&1) && is_word(&label) {
            return (label, issuer.map(str::to_owned));
        }
        (secret.id.to_string(), Some(issuer.map_or(label.clone(), |issuer| format!("{issuer} {label}"))))
    };
    Ok(secrets.iter().map(offer).collect())
}

/// E-mail addresses of seats.
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

/// Names of keys.
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

/// Whether a shell reads a name as one word. A shell puts it onto the command line as it is, and an agent may have chosen it:
/// what it would carry out must not get there.
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
