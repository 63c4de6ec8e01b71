//! `countersign secret add`, and the sources of its seed.

use std::path::PathBuf;

use clap::Args;
use zeroize::Zeroizing;

use super::{captured::Source, duplicate, qr, view};
use crate::{
    child::Children,
    domain::{
        limits::{PICTURE_BYTES_MAX, URI_BYTES_MAX},
        otpauth::{Names, OtpAuth, OtpAuthError, Repair, is_link, unquoted},
        seed::Seed,
        text::ShownText,
    },
    operations::{ErrorCode, Refusal, RegisterSecret, Registration},
    transport::cli::{
        Failure, Session,
        file_names::shown_path,
        first::{Input, Taken},
        numbers::whole,
        output::Console,
    },
};

/// What a new secret takes.
#[derive(Debug, Args)]
pub struct AddArgs {
    /// What to call it, such as the login's user name; wins over what a URI or QR code says, and is asked for if neither does
    #[arg(long, required_if_eq("generate", "true"))]
    label: Option<String>,
    /// The service that issued it; wins over what a URI or QR code says
    #[arg(long)]
    issuer: Option<String>,
    /// SHA1, SHA256 or SHA512 [default: SHA1]
    #[arg(long, value_name = "NAME")]
    algorithm: Option<String>,
    /// Digits of a code, 6 or 8 [default: 6]
    #[arg(long, value_name = "N", value_parser = whole::<i64>)]
    digits: Option<i64>,
    /// Seconds that a code lives [default: 30]
    #[arg(long, value_name = "SECONDS", value_parser = whole::<i64>)]
    period: Option<i64>,
    /// Give each code of it to one caller only, whatever a call asks for
    #[arg(long)]
    single_use: bool,
    /// Web origin of its login page, which its codes may be typed into, such as <https://login.example.com>; may be repeated
    #[arg(long, value_name = "ORIGIN")]
    origin: Vec<String>,
    /// Type its codes into pages alone (`countersign fill`), and show them to nobody
    #[arg(long, requires = "origin", conflicts_with = "single_use")]
    fill_only: bool,
    /// Store it although there is one of the same issuer and label
    #[arg(long)]
    allow_duplicate: bool,
    /// Which link of a picture to store, if it holds several
    #[arg(long, value_name = "N", value_parser = whole::<usize>, requires = "qr")]
    nth: Option<usize>,
    #[command(flatten)]
    source: SourceArgs,
}

/// Where the seed comes from; without any of these it is asked for.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(super) struct SourceArgs {
    /// Read the seed (base32), or an otpauth:// URI, from standard input
    #[arg(long, help_heading = "Where the seed comes from (asked for without any of these)")]
    stdin: bool,
    /// Read an otpauth:// URI from a file; `-` for standard input
    #[arg(
        long,
        value_name = "FILE",
        help_heading = "Where the seed comes from (asked for without any of these)",
        conflicts_with_all = ["algorithm", "digits", "period"]
    )]
    uri_file: Option<PathBuf>,
    /// Read the QR code in a picture (PNG, JPEG or WebP), such as a screenshot; `-` for standard
    /// input, `clipboard` or `screen` for what is there
    #[arg(
        long,
        value_name = "IMAGE",
        help_heading = "Where the seed comes from (asked for without any of these)",
        conflicts_with_all = ["algorithm", "digits", "period"]
    )]
    qr: Option<PathBuf>,
    /// Make a new seed, and print it once with its otpauth:// URI, to be entered at the service
    #[arg(long, help_heading = "Where the seed comes from (asked for without any of these)")]
    generate: bool,
}

/// Stores a secret.
pub(super) async fn add(args: AddArgs, session: &mut Session) -> Result<(), Failure> {
    let (generate, allow_duplicate, fill_only) = (args.source.generate, args.allow_duplicate, args.fill_only);
    let registration = match session.input.take() {
        Some(Input(Taken::Secret(registration))) => registration,
        _ => read(&args, &mut session.console, &session.children).await?,
    };
    let beside = if allow_duplicate { None } else { Some(duplicate::ask(&registration, session).await?) };
    let registered = session.perform(RegisterSecret { registration, idempotency_key: None, beside }).await?;
    let id = registered.secret.id;
    if generate {
        let shown = view::show(&registered.secret, registered.seed.as_ref(), session);
        shown.and_then(|()| session.console.flush()).map_err(|failure| {
            let remedy = format!("remove it with `countersign secret rm {id} --now`");
            failure.unseen(&format!("the secret was stored as {id}, but its seed"), &remedy)
        })?;
    } else {
        view::show(&registered.secret, None, session)?;
    }
    session.console.note(&if generate {
        "Enter the seed at the service now: it is shown this once.".to_owned()
    } else {
        let command = if fill_only { "fill" } else { "code" };
        format!("Stored. `countersign {command} {id}` {} its code.", if fill_only { "types" } else { "shows" })
    });
    Ok(())
}

/// Reads the seed and what else the input contains.
pub(super) async fn read(args: &AddArgs, console: &mut Console, children: &Children) -> Result<Registration, Failure> {
    let mut registration = Registration {
        label: args.label.clone(),
        issuer: args.issuer.clone(),
        algorithm: args.algorithm.clone(),
        digits: args.digits,
        period: args.period,
        single_use: args.single_use,
        origins: Some(args.origin.clone()),
        fill_only: args.fill_only,
        ..Registration::default()
    };
    if args.source.generate {
        console.must_be_heard()?;
    }
    if args.source.stdin {
        let text = console.read_stdin(URI_BYTES_MAX + 2)?;
        typed(&mut registration, &text, console)?;
    } else if let Some(file) = &args.source.uri_file {
        let text = console.read_text("--uri-file", file, URI_BYTES_MAX + 2)?;
        let about = format!("{}: ", shown_path(file));
        named(&mut registration, &one_line(&text)?, console).map_err(|failure| failure.about(&about))?;
    } else if let Some(image) = &args.source.qr {
        let (picture, name) = match Source::named(image) {
            Some(source) => (source.picture()?, None),
            None => (console.read("--qr", image, PICTURE_BYTES_MAX).map_err(too_large)?, Some(shown_path(image))),
        };
        let texts = qr::read(&picture, name.as_deref(), children).await?;
        let link = qr::link(texts, name.as_deref(), args.nth, console)?;
        let about = name.map_or_else(String::new, |name| format!("{name}: "));
        named(&mut registration, &link, console).map_err(|failure| failure.about(&about))?;
    } else if !args.source.generate {
        let remedy = "use --stdin, --uri-file, --qr or --generate";
        let text = console.ask_hidden("Seed in base32, or otpauth:// link (hidden): ", remedy).await?;
        typed(&mut registration, &text, console)?;
    }
    Ok(registration)
}

/// Takes the text that a person typed: a seed, or a whole link, which also contains the parameters of its codes.
fn typed(registration: &mut Registration, text: &str, console: &mut Console) -> Result<(), Failure> {
    let text = Zeroizing::new(unquoted(text).to_owned());
    if !is_link(&text) {
        let issuer = registration.issuer.as_deref().unwrap_or_default();
        for doubt in Repair::of_key(&text).chain(Repair::of_issuer(issuer, registration.digits.is_some())) {
            console.note(&doubt.description());
        }
        if registration.label.is_none() {
            // An invalid seed is refused before more is asked for.
            Seed::from_base32(&text).map_err(|problem| Refusal::invalid("secret", problem.to_string()))?;
            registration.label = Some(ask_label(console)?);
        }
        registration.secret = Some(text);
        return Ok(());
    }
    let Registration { algorithm: None, digits: None, period: None, .. } = registration else {
        let problem = "an otpauth:// URI says its algorithm, digits and period itself; leave out those flags";
        return Err(Failure::Usage(problem.to_owned()));
    };
    named(registration, &one_line(&text)?, console)
}

/// Copies a URI's contents into a registration; names typed by the person override the URI's.
fn named(registration: &mut Registration, uri: &str, console: &mut Console) -> Result<(), Failure> {
    let typed = |field: &'static str, text: Option<String>| {
        let text = text.filter(|text| !text.trim().is_empty());
        let checked = text.map(|text| ShownText::parse(&text)).transpose();
        checked.map_err(|problem| Refusal::invalid(field, problem.to_string()))
    };
    let mut given = Names {
        label: typed("label", registration.label.take())?,
        issuer: typed("issuer", registration.issuer.take())?,
    };
    let mut read = OtpAuth::parse_meant(uri, given.clone());
    let lacks_name = match &read {
        Ok((read, _)) if given.label.is_none() && read.seed.is_in(read.label.as_str()) => {
            console.note("The link's label holds the key, and every list shows labels; it needs another one.");
            true
        }
        Ok(_) => false,
        Err(problem) => *problem == OtpAuthError::NoName,
    };
    if lacks_name {
        given.label = typed("label", Some(ask_label(console)?))?;
        read = OtpAuth::parse_meant(uri, given);
    }
    let (read, repaired) = read.map_err(|problem| Refusal::invalid("uri", problem.to_string()))?;
    for repair in repaired {
        console.note(&repair.description());
    }
    registration.uri = Some(read.to_uri());
    Ok(())
}

/// Asks what to call a secret.
fn ask_label(console: &mut Console) -> Result<String, Failure> {
    console.ask("Label, such as the account's name: ", "add --label")
}

/// A picture's file that is too large is wrong input, not an oversized request.
fn too_large(failure: Failure) -> Failure {
    if let Failure::Failed { code: ErrorCode::TooLarge, message } = failure {
        Failure::invalid(message)
    } else {
        failure
    }
}

fn one_line(text: &str) -> Result<Zeroizing<String>, Failure> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    match (lines.next(), lines.next()) {
        (Some(uri), None) => Ok(Zeroizing::new(uri.to_owned())),
        (None, _) => Err(Failure::invalid("the input is empty; it must be one otpauth:// URI")),
        (Some(_), Some(_)) => {
            Err(Failure::invalid("the input has several lines; `countersign secret import` takes those"))
        }
    }
}
