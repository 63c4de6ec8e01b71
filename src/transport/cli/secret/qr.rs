//! `--qr`: the link in a picture's QR code. A child process reads the picture; a person chooses if it holds several.

use std::fmt::Write as _;

use zeroize::Zeroizing;

use crate::{
    child::{Children, TURN},
    domain::{
        limits::PICTURE_LINKS_MAX,
        otpauth::{Names, OtpAuth},
        sensitive::{MASK, with_seeds_masked},
        text::ShownText,
    },
    transport::{
        cli::{Failure, output::Console, table::Table},
        qr,
    },
};

/// Reads the texts of the QR codes in a picture. An error names its file, if it has one.
pub(super) async fn read(
    picture: &[u8],
    name: Option<&str>,
    children: &Children,
) -> Result<Vec<Zeroizing<String>>, Failure> {
    qr::texts(picture, children, TURN).await.map_err(|cause| {
        let named = name.map_or_else(String::new, |name| format!("{name}: "));
        Failure::Failed { code: cause.code(), message: format!("{named}{cause}") }
    })
}

/// The link to store: the only one, the nth, or the one that a person at the terminal chooses. Codes with something else,
/// such as a web page's address, don't count.
pub(super) fn link(
    texts: Vec<Zeroizing<String>>,
    name: Option<&str>,
    nth: Option<usize>,
    console: &mut Console,
) -> Result<Zeroizing<String>, Failure> {
    let without = without_link(&texts, name);
    let texts = qr::links(texts);
    let index = match (nth, texts.len()) {
        (_, 0) => return Err(without),
        (Some(nth), _) => nth.wrapping_sub(1),
        (None, 1) => 0,
        (None, several) if console.can_ask() && several <= PICTURE_LINKS_MAX => {
            console.choose(&format!("The picture holds {several} links:"), &listed(&texts))?
        }
        (None, _) => return Err(ambiguous(&texts)),
    };
    let links = texts.len();
    let chosen = texts.into_iter().nth(index);
    chosen.ok_or_else(|| Failure::Usage(format!("--nth must be 1 to {links} for this picture")))
}

/// The error for a picture whose codes are not links. It describes the kind of a code, and never quotes it.
pub(super) fn without_link(texts: &[Zeroizing<String>], name: Option<&str>) -> Failure {
    const KINDS: [(&str, &str); 9] = [
        ("wifi:", "a Wi-Fi network"),
        ("http://", "a web page's address"),
        ("https://", "a web page's address"),
        ("mailto:", "an e-mail address"),
        ("tel:", "a telephone number"),
        ("begin:vcard", "a contact"),
        ("mecard:", "a contact"),
        ("fido:/", "a passkey's sign-in"),
        ("steam://", "a link of Steam, whose codes are letters and which Countersign does not make"),
    ];
    let named = name.map_or_else(String::new, |name| format!("{name}: "));
    let [text] = texts else {
        return Failure::invalid(format!(
            "{named}none of the {} QR codes in the picture is an otpauth:// link",
            texts.len()
        ));
    };
    let is = |start: &str| text.trim_start().get(..start.len()).is_some_and(|given| given.eq_ignore_ascii_case(start));
    let what = KINDS.iter().find(|(start, _)| is(start)).map_or("something else", |(_, what)| what);
    Failure::invalid(format!("{named}the QR code in the picture is no otpauth:// link, but {what}"))
}

fn ambiguous(links: &[Zeroizing<String>]) -> Failure {
    let mut message = format!("the picture holds {} links; say which one with --nth:", links.len());
    for (nth, line) in listed(links).lines(None).iter().enumerate().skip(1) {
        let _ = write!(message, "\n  {nth}  {line}");
    }
    if links.len() > PICTURE_LINKS_MAX {
        let _ = write!(message, "\n  and {} more", links.len() - PICTURE_LINKS_MAX);
    }
    Failure::invalid(message)
}

/// A table of the links' issuers and labels, never of seeds.
fn listed(links: &[Zeroizing<String>]) -> Table {
    let mut table = Table::new(&["issuer", "label"]);
    for link in links.iter().take(PICTURE_LINKS_MAX) {
        table.row(match OtpAuth::parse_meant(link, Names::default()) {
            Ok((read, _)) => {
                // A key may stand where a name belongs.
                let shown = |name: &ShownText| {
                    if read.seed.is_in(name.as_str()) { MASK.to_owned() } else { with_seeds_masked(name.as_str()) }
                };
                vec![read.issuer.as_ref().map(shown).unwrap_or_default(), shown(&read.label)]
            }
            Err(problem) => vec![String::new(), format!("(can't be stored: {problem})")],
        });
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_a_link_has_for_a_name_is_not_told() {
        let links = [
            "otpauth://totp/ada?secret=MFRGGZDFMZTWQ2LK",
            "otpauth://totp/MFRGGZDFMZTWQ2LKNO?secret=MFRGGZDFMZTWQ2LKNO",
        ];
        let links = links.map(|link| Zeroizing::new(link.to_owned()));
        let Failure::Failed { message, .. } = ambiguous(&links) else { unreachable!("it names the picture's links") };
        assert!(message.contains("ada") && message.contains(MASK) && !message.contains("MFRG"), "{message}");
    }
}
