//! Each format's parser by itself, for a fuzzer: whether a file is recognised as that format is another parser's work.

use super::{
    Format, Import, Json, aegis, age, andotp, apps, archive, bitwarden, cxf, ente, freeotp, google, kdbx, kdbx_key,
    keepass, links, own, passed, proton, stratum, table, text_of, twofas,
};

/// A parser's name, and the function that passes any bytes to it.
type Parser = (&'static str, fn(&[u8]));

/// Every parser of a format. `fuzz/run` lists the same names.
pub(crate) const PARSERS: [Parser; 30] = [
    ("import-1password", |bytes| with_json(bytes, |json| apps::one_password(json))),
    ("import-2fas", |bytes| with_json(bytes, twofas::read)),
    ("import-2fauth", |bytes| with_json(bytes, apps::two_f_auth)),
    ("import-aegis", |bytes| with_json(bytes, aegis::read)),
    ("import-age", |bytes| drop(age::locked(bytes))),
    ("import-andotp", |bytes| with_json(bytes, |json| andotp::read(json.list()))),
    ("import-andotp-sealed", |bytes| drop(andotp::locked(bytes))),
    ("import-authenticator-extension", |bytes| with_json(bytes, apps::extension)),
    ("import-bitwarden", |bytes| with_json(bytes, bitwarden::read)),
    ("import-countersign", |bytes| with_json(bytes, |json| (own::exported(json), own::array(json.list())))),
    ("import-cxf", |bytes| with_json(bytes, cxf::read)),
    ("import-duo", |bytes| with_json(bytes, |json| apps::duo(json.list()))),
    ("import-enpass", |bytes| with_json(bytes, apps::enpass)),
    ("import-ente", |bytes| with_json(bytes, ente::read)),
    ("import-freeotp", |bytes| with_json(bytes, freeotp::read)),
    ("import-google", |bytes| with_text(bytes, migration)),
    ("import-kdbx", |bytes| drop(kdbx::locked(bytes))),
    ("import-kdbx-key", |bytes| drop(kdbx_key::key_of(bytes))),
    ("import-keepass", |bytes| with_text(bytes, |text| drop(keepass::read(text, &mut |_| None)))),
    ("import-lastpass", |bytes| with_json(bytes, apps::last_pass)),
    ("import-links", |bytes| with_text(bytes, |text| drop((links::are_in(text), links::read(text))))),
    ("import-passed", passed::fuzz),
    ("import-proton-authenticator", |bytes| {
        with_json(bytes, |json| (proton::authenticator(json), proton::locked(json)))
    }),
    ("import-proton-pass", |bytes| with_json(bytes, proton::pass)),
    ("import-raivo", |bytes| with_json(bytes, |json| apps::raivo(json.list()))),
    ("import-stratum", |bytes| with_json(bytes, stratum::read)),
    ("import-stratum-sealed", |bytes| drop(stratum::locked(bytes))),
    ("import-table", |bytes| with_text(bytes, |text| drop(table::read(text)))),
    ("import-vault", |bytes| with_json(bytes, apps::vault)),
    ("import-zip", |bytes| drop((archive::known(bytes), archive::inside(bytes)))),
];

fn with_json<T>(bytes: &[u8], read: impl Fn(&Json) -> T) {
    with_text(bytes, |text| {
        let _ = Json::parse(text).map(|json| read(&json));
    });
}

fn with_text(bytes: &[u8], read: impl Fn(&str)) {
    if let Ok(text) = text_of(bytes) {
        read(&text);
    }
}

fn migration(text: &str) {
    let mut import = Import::new(Format::Google);
    for (nth, line) in text.lines().enumerate().filter(|(_, line)| google::is_link(line)) {
        google::read(line, nth + 1, &mut import);
    }
}
