//! The web origins of a secret, as people and agents give them.

use super::{Failed, Refusal};
use crate::{
    browser::is_public_suffix,
    domain::{
        origin::{ORIGINS_MAX, Origin, OriginError},
        secret::TotpSecret,
    },
};

/// Reads origins. The result has each of them once, in the given order.
///
/// # Errors
/// `invalid_argument`, which names the field.
pub(super) fn origins(texts: &[String]) -> Result<Vec<Origin>, Refusal> {
    let mut origins = Vec::new();
    for text in texts {
        let origin: Origin = text
            .trim()
            .parse()
            .map_err(|problem: OriginError| Refusal::invalid("origins", format!("has one that {problem}")))?;
        if is_of_strangers(&origin) {
            let problem = "has one that covers the sites of strangers: a registrar sells the names below it";
            return Err(Refusal::invalid("origins", problem));
        }
        if !origins.contains(&origin) {
            origins.push(origin);
        }
    }
    if origins.len() > ORIGINS_MAX {
        return Err(Refusal::invalid("origins", format!("must be a list of at most {ORIGINS_MAX} origins")));
    }
    Ok(origins)
}

/// Whether anyone may register a name that the origin covers.
pub(super) fn is_of_strangers(origin: &Origin) -> bool {
    origin.below().is_some_and(is_public_suffix)
}

/// The origins of a secret, without those that cover the sites of strangers.
pub(super) fn origins_of(secret: &TotpSecret) -> impl Iterator<Item = &Origin> {
    secret.metadata.origins.iter().filter(|origin| !is_of_strangers(origin))
}

/// Checks that codes of a secret may go to an origin. `None` is one that can't be read.
///
/// # Errors
/// `wrong_origin`.
pub(super) fn check_origin(secret: &TotpSecret, origin: Option<&Origin>) -> Result<(), Failed> {
    if origin.is_some_and(|origin| origins_of(secret).any(|allowed| allowed.covers(origin))) {
        return Ok(());
    }
    Err(Refusal::WrongOrigin(secret.metadata.origins.clone()).into())
}

#[cfg(all(test, feature = "browser"))]
mod tests {
    use super::*;

    fn read(texts: &[&str]) -> Result<usize, Refusal> {
        origins(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()).map(|read| read.len())
    }

    #[test]
    fn a_wildcard_covers_no_site_of_strangers() {
        assert_eq!(read(&["https://a.example.co.uk", " https://*.example.co.uk", "https://a.example.co.uk"]), Ok(2));
        for text in ["https://*.co.uk", "https://*.github.io", "https://*.com.br"] {
            let Err(Refusal::Invalid { field: "origins", problem }) = read(&[text]) else { panic!("{text}") };
            assert!(problem.contains("strangers"), "{text}: {problem}");
        }
        assert!(matches!(read(&["https://example.com/login"]), Err(Refusal::Invalid { field: "origins", .. })));
        let many: Vec<_> = (0..=ORIGINS_MAX).map(|n| format!("https://a{n}.example")).collect();
        assert!(matches!(origins(&many), Err(Refusal::Invalid { field: "origins", .. })));
    }
}
