//! One link of a file: `otpauth://` as many programs write it, and the links of kinds that are not supported.

use zeroize::Zeroizing;

use super::{
    ends,
    entry::{Entry, ImportedSecret, Kind, Note, Number, Place, RawEntry, Skip, algorithm},
    naming,
};
use crate::domain::{
    limits::URI_BYTES_MAX,
    otpauth::{OtpAuthError, Repair, Unnamed, push_app},
    seed::{SEED_BYTES_USUAL, Seed, SeedError},
    totp::TotpParameters,
};

/// The schemes of links that a list may hold.
const SCHEMES: [&str; 4] = ["otpauth://", "otpauth-migration://", "steam://", "motp://"];

/// The data of the item that holds a seed or a link.
#[derive(Clone, Copy, Default)]
pub(super) struct Beside<'a> {
    /// The names for a seed or a link that has none itself.
    pub(super) issuer: &'a str,
    pub(super) account: &'a str,
    /// The parameters of a bare seed's codes, and of a link's, as far as it has none.
    pub(super) stated: StatedParameters<'a>,
}

/// The parameters of codes, as far as a file states them.
#[derive(Clone, Copy, Default)]
pub(super) struct StatedParameters<'a> {
    pub(super) kind: &'a str,
    pub(super) algorithm: &'a str,
    pub(super) digits: Number,
    pub(super) period: Number,
}

impl StatedParameters<'_> {
    /// Those of an entry that was read.
    pub(super) fn of(totp: TotpParameters) -> StatedParameters<'static> {
        StatedParameters {
            kind: "",
            algorithm: totp.algorithm.as_str(),
            digits: Number::Is(totp.digits.get().into()),
            period: Number::Is(totp.period.seconds().into()),
        }
    }

    /// The parameters of a link's codes: its own, and these where it has none; and the doubt, if they differ.
    fn beside(self, link: &str, own: TotpParameters) -> Result<(TotpParameters, Option<Note>), Skip> {
        Kind::of_word(self.kind).check()?;
        let pairs = || link.split(['?', '&']).filter_map(|pair| pair.split_once('='));
        let says = |name: &str| pairs().any(|(known, value)| known.eq_ignore_ascii_case(name) && !value.is_empty());
        let hash = (!self.algorithm.is_empty()).then(|| algorithm(self.algorithm));
        let digits = (self.digits != Number::Absent).then(|| self.digits.read(Skip::Digits));
        let period = (self.period != Number::Absent).then(|| self.period.read(Skip::Period));
        let (algorithm, has_other_hash) = chosen(own.algorithm, says("algorithm"), hash)?;
        let (digits, has_other_digits) = chosen(own.digits, says("digits"), digits)?;
        let (period, has_other_period) = chosen(own.period, says("period"), period)?;
        let differs = has_other_hash || has_other_digits || has_other_period;
        Ok((TotpParameters { algorithm, digits, period }, differs.then_some(Note::Differs)))
    }
}

/// A link's own value if it says one, else the stated one; and whether the two differ.
fn chosen<T: PartialEq>(own: T, says: bool, stated: Option<Result<T, Skip>>) -> Result<(T, bool), Skip> {
    match stated {
        Some(stated) if says => {
            let differs = !stated.is_ok_and(|stated| stated == own);
            Ok((own, differs))
        }
        Some(stated) => Ok((stated?, false)),
        None => Ok((own, false)),
    }
}

/// Whether a text begins like a link that may be in a list.
pub(super) fn is_link(text: &str) -> bool {
    SCHEMES.iter().any(|scheme| starts(text, scheme)) || push_app(text).is_some()
}

/// Whether a text begins with a prefix, in any case.
pub(super) fn starts(text: &str, prefix: &str) -> bool {
    text.trim_start().get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// Whether a text can only be a secret: a link, or base32 of a usual length, or several of these.
pub(super) fn is_link_or_usual_seed(text: &str) -> bool {
    is_link(text)
        || match Seed::from_base32(text) {
            Ok(seed) => seed.len() >= SEED_BYTES_USUAL && !ends::are_words(text),
            Err(problem) => problem == SeedError::Several,
        }
}

/// Reads a link, or the bare base32 seed that some password managers keep in its place.
pub(super) fn link_or_seed(text: &str, beside: Beside<'_>, place: Place) -> Entry {
    if text.contains("://") {
        link(text, beside, place)
    } else {
        let StatedParameters { kind, algorithm, digits, period } = beside.stated;
        let kind = Kind::of_word(kind);
        RawEntry { kind, algorithm, digits, period, ..RawEntry::plain(beside.issuer, beside.account, text) }
            .entry(place)
    }
}

/// Reads a link.
pub(super) fn link(text: &str, beside: Beside<'_>, place: Place) -> Entry {
    let joined = joined(text);
    let text = joined.as_deref().map_or(text, String::as_str).trim();
    let (text, around) = ends::without_words(text);
    let read = read(text).and_then(|(link, notes)| Ok((beside.stated.beside(text, link.totp)?, link, notes)));
    let ((totp, differs), link, mut notes) = match read {
        Ok(read) => read,
        Err(why) => return Entry::skipped(place, naming::title(beside.issuer, beside.account), why),
    };
    let (issuer, account) = link.names();
    let issuer = if issuer.is_empty() { beside.issuer } else { issuer }.to_owned();
    let account = if account.is_empty() { beside.account } else { account }.to_owned();
    let Unnamed { seed, single_use, repaired, says_digits, .. } = link;
    let says_digits = says_digits || beside.stated.digits != Number::Absent;
    notes.extend(repaired.into_iter().chain(Repair::of_issuer(&issuer, says_digits)).map(Note::Link));
    let mut found = naming::named(&issuer, &account, totp, seed);
    notes.append(&mut found.notes);
    notes.extend(differs.into_iter().chain(around));
    let read = Ok(ImportedSecret { single_use, notes, ..found });
    Entry { place, title: naming::title_of(&read, &issuer, &account), read }
}

/// A link of several lines as one: a parameter may stand on a line of its own.
fn joined(link: &str) -> Option<Zeroizing<String>> {
    let mut lines = link.trim().lines();
    let first = lines.next().filter(|_| link.trim().contains(['\n', '\r']))?;
    let mut joined = Zeroizing::new(String::with_capacity(link.len()));
    joined.push_str(first.trim_end());
    for line in lines.map(str::trim) {
        joined.push_str(if line.starts_with('&') { "" } else { " " });
        joined.push_str(line);
    }
    Some(joined)
}

fn read(link: &str) -> Result<(Unnamed, Vec<Note>), Skip> {
    kind(link).check()?;
    let meant = parameters_as_meant(link).and_then(|meant| Unnamed::of_file(&meant).ok());
    if let Some(meant) = meant {
        return Ok((meant, vec![Note::Parameters]));
    }
    let read = Unnamed::of_file(link).map_err(|problem| {
        // `KeePassXC` marks Steam's entries by an encoder.
        let five = problem == OtpAuthError::Digits && has(link, "digits=5") && has(link, "steam");
        if five || problem == OtpAuthError::Encoder {
            Skip::STEAM
        } else if problem == OtpAuthError::Algorithm && has(link, "algorithm=md5") {
            Skip::Hash("MD5")
        } else {
            Skip::Link(problem)
        }
    })?;
    Ok((read, Vec::new()))
}

/// The kind of a link's codes, by its scheme and host.
fn kind(link: &str) -> Kind {
    if starts(link, "steam://") {
        return Kind::STEAM;
    }
    if starts(link, "motp://") {
        return Kind::MOTP;
    }
    let host = link.get("otpauth://".len()..).filter(|_| starts(link, "otpauth://"));
    let host = host.map(|rest| rest.split(['/', '?']).next().unwrap_or_default());
    match host.map(Kind::of_word) {
        // The reader of links reports an unknown host.
        None | Some(Kind::Unknown) => Kind::Totp,
        Some(known) => known,
    }
}

/// Whether a link contains a text, in any case.
pub(super) fn has(link: &str, text: &str) -> bool {
    link.as_bytes().windows(text.len()).any(|part| part.eq_ignore_ascii_case(text.as_bytes()))
}

/// Parameters as old versions of Ente meant them: `algorithm=Algorithm.sha256`, `issuer=Xperiod=30`; and as mails have
/// them, where `=3D` stands for `=`. `None` if there is nothing of that kind.
fn parameters_as_meant(link: &str) -> Option<Zeroizing<String>> {
    let (path, query) = link.split_once('?').filter(|_| link.len() < URI_BYTES_MAX)?;
    let mut meant = Zeroizing::new(String::with_capacity(URI_BYTES_MAX));
    meant.push_str(path);
    let mut joint = "?";
    // A seed may begin with these characters, but not each value.
    let is_of_mail = query.contains('&') && query.split('&').all(|pair| pair.contains("=3D"));
    for pair in query.split('&') {
        if let Some((name, value)) = pair.split_once("=3D").filter(|_| is_of_mail) {
            meant.extend([joint, name, "=", value]);
            joint = "&";
            continue;
        }
        let joined = pair
            .strip_prefix("issuer=")
            .and_then(|issuer| pair.split_at_checked(pair.len() - issuer.len() + issuer.find("period=")?));
        match (pair.strip_prefix("algorithm=Algorithm."), joined) {
            (Some(name), _) => meant.extend([joint, "algorithm=", name]),
            (None, Some((issuer, period))) => meant.extend([joint, issuer, "&", period]),
            (None, None) => meant.extend([joint, pair]),
        }
        joint = "&";
    }
    (meant.as_str() != link).then_some(meant)
}
