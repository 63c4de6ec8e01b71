//! The pages of an enrolment, as HTML. Each one has a heading that states what happened and a sentence that states what
//! to do.

use crate::{
    domain::{
        enrolment::{EnrolmentState, ProofWanted},
        limits::{PICTURE_BYTES_MAX, PIN_CHARS_MAX, SEED_TEXT_BYTES_MAX, TEXT_CHARS_MAX},
        secret::{SecretMetadata, TotpSecret},
        sensitive::with_seeds_masked,
        text::ShownText,
    },
    operations::{Choice, EnrolmentView, HOLDS_SEED, ProofProblem, ProofRequest, Proven, Service},
    transport::http::shell::{Html, alert, done, layout, message},
};

/// The problem with an entry, and what the person had typed besides the key.
#[derive(Clone, Copy)]
pub(super) struct Problem<'a> {
    pub(super) text: &'a str,
    pub(super) label: &'a str,
    pub(super) issuer: &'a str,
}

/// The label and the issuer that the page may show again; a text that holds a seed becomes empty.
pub(super) fn not_seeds<'a>(field: &str, problem: &str, [label, issuer]: [&'a str; 2]) -> [&'a str; 2] {
    let kept = |text: &'a str, name| {
        let is_seed = field == name && problem == HOLDS_SEED || with_seeds_masked(text) != text;
        if is_seed { "" } else { text }
    };
    [kept(label, "label"), kept(issuer, "issuer")]
}

pub(super) fn unknown() -> Html {
    message(
        "No such link",
        "This link leads nowhere. Perhaps it was not copied whole; otherwise ask your agent for a new one.",
    )
}

pub(super) fn ended(state: EnrolmentState) -> Html {
    match state {
        EnrolmentState::Stored(_) => message(
            "Already added",
            "A secret was added by this link, which worked once. You can close this page and go back to your agent.",
        ),
        EnrolmentState::Declined => message(
            "Declined",
            "Nothing was added, and this link works no longer. You can close this page; your agent is told.",
        ),
        EnrolmentState::Cancelled => message(
            "Cancelled",
            "Nothing was added. The request was cancelled, the agent’s key was revoked or has expired, or too many wrong PINs or phrases were \
             typed. Ask your agent for a new link.",
        ),
        EnrolmentState::Pending | EnrolmentState::Expired => message(
            "Too late",
            "This link worked for ten minutes, and they are over. Nothing was added. Ask your agent for a new link.",
        ),
    }
}

/// The page for a visitor who is signed in as somebody else. With the token of the link, it offers another sign-in at
/// the identity provider.
pub(super) fn anothers(token: Option<&str>) -> Html {
    let mut body = Html::of(
        "<p>You are signed in, but this request is for another person. Nothing was opened. If somebody sent you this link, tell \
         the person who runs this server.</p>\n",
    );
    if let Some(token) = token {
        body = body
            .put("<p class=\"buttons\"><a class=\"button\" href=\"")
            .text(token)
            .put("?sign-in=other\">Sign in as somebody else</a></p>\n");
    }
    layout("For somebody else", &body)
}

pub(super) fn no_proof() -> Html {
    message(
        "No way to prove who you are",
        "The person for whom this request is has no PIN here, and can't sign in. The person who runs this server sets a PIN \
         with <code>countersign seat update SEAT --pin</code>.",
    )
}

pub(super) fn stale() -> Html {
    message(
        "Open the link again",
        "This form is not from a page that you opened here. Nothing was done. Open the link again.",
    )
}

pub(super) fn failed(text: &str) -> Html {
    layout(
        "It did not work",
        &Html::of("<p>").text(text).put("</p>\n<p>Nothing was added. Go back and try again.</p>\n"),
    )
}

/// Asks for the proof. Before it, the page shows nothing about the request.
pub(super) fn ask(asked: &ProofRequest) -> Html {
    let problem = match asked.problem {
        None => Html::default(),
        Some(ProofProblem::Wrong(left)) => alert(&Html::of("That was not right. Tries left: ").text(left).put(".")),
        Some(ProofProblem::Held(after)) => {
            let seconds = after.as_secs().max(1);
            let unit = if seconds == 1 { " second." } else { " seconds." };
            alert(&Html::of("Too many were wrong lately. Try again in ").text(seconds).put(unit))
        }
    };
    let form = match asked.proof {
        ProofWanted::Seat => ask_person(asked),
        ProofWanted::Machine => Html::of(
            "<p>An agent on this machine asks for a secret. It could not be seen that this browser is yours, so prove it: run \
             this command in your own terminal, and type the phrase that it prints.</p>\n<pre><code>countersign secret enroll \
             --phrase ",
        )
        .text(asked.id)
        .put(
            "</code></pre>\n<form method=\"post\" autocomplete=\"off\">\n<label for=\"proof\">Phrase</label>\n\
             <input id=\"proof\" name=\"proof\" type=\"text\" required autocomplete=\"off\" autocapitalize=\"off\" \
             spellcheck=\"false\" maxlength=\"80\">\n",
        )
        .put(CONTINUE),
    };
    layout("Who are you?", &problem.add(&form))
}

/// The end of a form for the proof.
const CONTINUE: &str = "<p class=\"buttons\"><button name=\"step\" value=\"prove\">Continue</button></p>\n</form>\n";

/// Asks the person of a seat to sign in or for their PIN.
fn ask_person(asked: &ProofRequest) -> Html {
    let mut page = Html::of("<p>An agent asks for a secret. First prove that you are the person whom it asks.</p>\n");
    if asked.signs_in {
        page = page.put("<p class=\"buttons\"><a class=\"button\" href=\"?sign-in\">Sign in</a></p>\n");
    }
    if asked.types {
        page = page
            .put(if asked.signs_in { "<p>Or type" } else { "<p>Type" })
            .put(
                " the PIN that was set for you.</p>\n<form method=\"post\" autocomplete=\"off\">\n\
                 <label for=\"proof\">PIN</label>\n<input id=\"proof\" name=\"proof\" type=\"password\" required \
                 autocomplete=\"off\" maxlength=\"",
            )
            .text(PIN_CHARS_MAX)
            .put("\">\n")
            .put(CONTINUE);
    }
    page
}

/// The page for an answer of an identity provider that belongs to no sign-in in this browser.
pub(super) fn no_sign_in() -> Html {
    message(
        "Open the link again",
        "This answer of your identity provider belongs to no sign-in that began in this browser, or it came before. Nothing \
         was opened. Open the link of your agent again.",
    )
}

/// The page for a sign-in that failed at the identity provider, with the link to open again.
pub(super) fn not_signed_in(token: &str) -> Html {
    let body = Html::of(
        "<p>Your identity provider did not sign you in, or gave no usable answer. Nothing was opened.</p>\n\
         <p class=\"buttons\"><a class=\"button\" href=\"",
    )
    .text(token)
    .put("\">Open the link again</a></p>\n");
    layout("Not signed in", &body)
}

/// The form for the key.
pub(super) fn entry(service: &Service, proven: &Proven, problem: Option<&Problem<'_>>) -> Html {
    let view = &proven.view;
    let proposed = |text: &Option<ShownText>| text.as_ref().map_or_else(String::new, ToString::to_string);
    let (label, issuer) = match problem {
        Some(problem) if !(problem.label.is_empty() && problem.issuer.is_empty()) => {
            (problem.label.to_owned(), problem.issuer.to_owned())
        }
        _ => (proposed(&view.proposal.label), proposed(&view.proposal.issuer)),
    };
    let problem_alert = problem.map(|problem| alert(&Html::default().text(problem.text))).unwrap_or_default();
    let left = service.now().until(view.expires_at).as_secs().div_ceil(60);
    let body = problem_alert
        .add(&about(view))
        .add(&picture_form(proven))
        .put("<form method=\"post\" autocomplete=\"off\" id=\"typed\">\n<h2>Or with its key</h2>\n")
        .add(&ticket(proven))
        .put(
            "<label for=\"key\">Key or link</label>\n<p class=\"hint\" id=\"key-hint\">The key that the service shows beside the \
             QR code (“can’t scan the code?”), or a link that begins with <code>otpauth://</code>.</p>\n\
             <input id=\"key\" name=\"key\" type=\"text\" required autocomplete=\"off\" autocapitalize=\"off\" \
             spellcheck=\"false\" aria-describedby=\"key-hint\" maxlength=\"",
        )
        .text(SEED_TEXT_BYTES_MAX * 10)
        .put("\">\n")
        .add(&field("issuer", "Service", &issuer))
        .add(&field("label", "Account", &label))
        .put(
            "<p class=\"buttons\"><button name=\"step\" value=\"look\">Continue</button>\n\
             <button name=\"step\" value=\"decline\" class=\"quiet\" formnovalidate>Decline</button></p>\n</form>\n\
             <p class=\"hint\">Nothing is kept before you have checked it on the next page. This link works for another \
             <span data-minutes>",
        )
        .text(left)
        .put("</span> min.</p>\n<script src=\"enrol.js\" defer></script>\n");
    layout("Add a secret", &body)
}

/// The form for a picture of the QR code. The picture is its last field, so that it is read after the ticket.
fn picture_form(proven: &Proven) -> Html {
    let (most, step) = (PICTURE_BYTES_MAX / (1024 * 1024), "<input type=\"hidden\" name=\"step\" value=\"picture\">\n");
    Html::of("<form method=\"post\" enctype=\"multipart/form-data\" id=\"pictured\" class=\"drop\">\n<h2>With its QR code</h2>\n")
        .add(&ticket(proven))
        .put(step)
        .put("<label for=\"picture\">Picture of the QR code</label>\n<p class=\"hint\" id=\"picture-hint\">A screenshot or a photograph: PNG, JPEG or WebP of at most ")
        .text(most)
        .put(
            " MiB. <span data-script hidden>You can also drop it here, or paste it; it is read at once.</span></p>\n\
             <input id=\"picture\" name=\"picture\" type=\"file\" required accept=\"image/png,image/jpeg,image/webp\" \
             aria-describedby=\"picture-hint\" data-most=\"",
        )
        .text(PICTURE_BYTES_MAX)
        .put(
            "\">\n<p class=\"buttons\"><button>Read the picture</button>\n\
             <button type=\"button\" class=\"quiet\" id=\"camera\" aria-expanded=\"false\" aria-controls=\"view\" hidden>Use the \
             camera</button></p>\n<video id=\"view\" muted playsinline hidden aria-label=\"What the camera sees\"></video>\n\
             <p id=\"said\" role=\"status\"></p>\n</form>\n",
        )
}

/// Several secrets of one picture, of which the person chooses one.
pub(super) fn choose(proven: &Proven, choices: &[Choice]) -> Html {
    let mut list = Html::of("<p>The picture holds several QR codes. Which one is it?</p>\n<form method=\"post\">\n")
        .add(&ticket(proven))
        .put("<input type=\"hidden\" name=\"step\" value=\"code\">\n<ul class=\"choices\">\n");
    for choice in choices {
        list = match choice {
            Choice::Good { handle, metadata } => list
                .put("<li><button class=\"quiet\" name=\"entry\" value=\"")
                .text(handle)
                .put("\">")
                .text(named(metadata))
                .put("</button></li>\n"),
            Choice::Bad(problem) => {
                list.put("<li class=\"hint\">One of them can’t be added: its key ").text(problem).put(".</li>\n")
            }
        };
    }
    let end = "</ul>\n</form>\n<form method=\"post\">\n";
    let back = "<p class=\"buttons\"><button name=\"step\" value=\"back\" class=\"quiet\">Back</button></p>\n</form>\n";
    layout("Which one?", &list.put(end).add(&ticket(proven)).put(back))
}

pub(super) fn added(secret: &TotpSecret) -> Html {
    let body =
        done(&Html::default().text(name_of(secret)).put(
            " was added. You can close this page and go back to your agent, which is told its id and never its key.",
        ));
    layout("Added", &body)
}

/// The part of the page that names the caller, the person and the words that the chat shows too.
fn about(view: &EnrolmentView) -> Html {
    let who = match (view.client.name.as_str(), view.is_person) {
        ("", true) => "you, at a terminal".to_owned(),
        ("", false) => "an agent that does not say its name".to_owned(),
        (name, _) => format!("{name} {}", view.client.version.as_str()).trim().to_owned(),
    };
    let mut facts = Html::of("<p>Somebody asks you for a secret. Compare these words with those in your chat or terminal: <strong class=\"words\">")
        .text(&view.words)
        .put("</strong>. If they differ, decline.</p>\n<dl>\n")
        .add(&fact("Asked by", &who));
    if let Some(key) = &view.key {
        facts = facts.add(&fact("With the key", key.as_str()));
    }
    if let Some(seat) = &view.seat {
        facts = facts.add(&fact("For", seat.profile.email.as_str()));
    }
    let wanted = [&view.proposal.issuer, &view.proposal.label].into_iter().flatten().map(ShownText::as_str);
    let wanted = wanted.collect::<Vec<_>>().join(", ");
    if !wanted.is_empty() {
        facts = facts.add(&fact("The secret of", &wanted));
    }
    facts = facts.add(&fact("Vault account", view.account.as_str()));
    if !view.proposal.origins.is_empty() {
        let origins: Vec<_> = view.proposal.origins.iter().map(ToString::to_string).collect();
        facts = facts.add(&fact("For pages of", &origins.join(", ")));
    }
    facts.put("</dl>\n")
}

pub(super) fn fact(name: &'static str, value: &str) -> Html {
    Html::of("<dt>").put(name).put("</dt><dd>").text(value).put("</dd>\n")
}

pub(super) fn field(name: &'static str, label: &'static str, value: &str) -> Html {
    Html::of("<label for=\"")
        .put(name)
        .put("\">")
        .put(label)
        .put("</label>\n<input id=\"")
        .put(name)
        .put("\" name=\"")
        .put(name)
        .put("\" type=\"text\" autocomplete=\"off\" maxlength=\"")
        .text(TEXT_CHARS_MAX)
        .put("\" value=\"")
        .text(value)
        .put("\">\n")
}

pub(super) fn ticket(proven: &Proven) -> Html {
    hidden("ticket", &proven.ticket)
}

pub(super) fn hidden(name: &'static str, value: &str) -> Html {
    Html::of("<input type=\"hidden\" name=\"").put(name).put("\" value=\"").text(value).put("\">\n")
}

pub(super) fn name_of(secret: &TotpSecret) -> String {
    named(&secret.metadata)
}

fn named(metadata: &SecretMetadata) -> String {
    let label = metadata.label.as_str();
    metadata.issuer.as_ref().map_or_else(|| label.to_owned(), |issuer| format!("{issuer} ({label})"))
}
