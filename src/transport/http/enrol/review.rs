//! The page that shows the secret to be added, for the person to check.

use super::pages::{Problem, fact, field, hidden, name_of, ticket};
use crate::{
    domain::text::ShownText,
    operations::{Proven, Review, in_words},
    transport::http::shell::{Html, alert, done, layout},
};

/// The review page's answer to the person's last step.
#[derive(Clone, Copy)]
pub(super) enum Feedback<'a> {
    Nothing,
    /// Whether a code is right.
    Code(bool),
    /// The problem with new names.
    Names(Problem<'a>),
}

/// The secret to be added, and its current code. The page is one form, so that every button sends new names along.
pub(super) fn page(proven: &Proven, review: &Review, feedback: Feedback<'_>) -> Html {
    let metadata = &review.metadata;
    let digits = review.code.digits();
    let (first, second) = digits.split_at(digits.len() / 2);
    let mut facts = Html::of("<dl>\n").add(&fact("Codes", &in_words(&metadata.totp)));
    if !metadata.origins.is_empty() {
        let origins: Vec<_> = metadata.origins.iter().map(ToString::to_string).collect();
        facts = facts.add(&fact("For pages of", &origins.join(", ")));
    }
    let (answer, issuer, label) = match &feedback {
        Feedback::Names(problem) => (alert(&Html::default().text(problem.text)), problem.issuer, problem.label),
        Feedback::Nothing | Feedback::Code(_) => {
            let issuer = metadata.issuer.as_ref().map_or("", ShownText::as_str);
            (checked(&feedback), issuer, metadata.label.as_str())
        }
    };
    // The answer to the person's last step comes first.
    let body = answer
        .add(&warnings(review))
        .put("<form method=\"post\" autocomplete=\"off\">\n")
        .add(&ticket(proven))
        .add(&hidden("entry", &review.handle))
        .add(&hidden("shown-issuer", metadata.issuer.as_ref().map_or("", ShownText::as_str)))
        .add(&hidden("shown-label", metadata.label.as_str()))
        .add(&field("issuer", "Service", issuer))
        .add(&field("label", "Account", label))
        .add(&facts)
        .put("</dl>\n<section>\n<h2>Current code</h2>\n<p class=\"code\"><output aria-live=\"off\">")
        .text(first)
        .put(" ")
        .text(second)
        .put("</output></p>\n<p>Type it into the service’s page to finish its set-up. It is valid for another <span data-left=\"")
        .text(review.expires_in)
        .put("\">")
        .text(review.expires_in)
        .put(
            "</span> s.</p>\n<p class=\"buttons\"><button name=\"step\" value=\"code\" class=\"quiet\" data-refresh>Refresh the \
             code</button></p>\n</section>\n<label for=\"code\">Optional: check a code that the service or your phone \
             shows</label>\n<p class=\"row\"><input id=\"code\" name=\"code\" type=\"text\" inputmode=\"numeric\" \
             autocomplete=\"off\" maxlength=\"12\">\n<button name=\"step\" value=\"check\" class=\"quiet\">Check</button></p>\n\
             <p class=\"buttons\"><button name=\"step\" value=\"add\">Add</button>\n\
             <button name=\"step\" value=\"back\" class=\"quiet\">Back</button>\n\
             <button name=\"step\" value=\"decline\" class=\"quiet\">Decline</button></p>\n</form>\n\
             <script src=\"enrol.js\" defer></script>\n",
        );
    layout("Is this right?", &body)
}

fn checked(feedback: &Feedback<'_>) -> Html {
    match feedback {
        Feedback::Nothing | Feedback::Names(_) => Html::default(),
        Feedback::Code(true) => done(&Html::of("That code is right.")),
        Feedback::Code(false) => alert(&Html::of(
            "That code is not right. Perhaps it has just rotated; otherwise the key was not copied whole, or a clock is wrong.",
        )),
    }
}

/// The warnings for a person before they add a secret.
fn warnings(review: &Review) -> Html {
    let there = match (review.same_seed.first(), review.same_name.first()) {
        (Some(same), _) => alert(&Html::of("This key is there already, as ").text(name_of(same)).put(".")),
        (None, Some(same)) => alert(&Html::default().text(name_of(same)).put(" is there already, with another key.")),
        (None, None) => Html::default(),
    };
    let there = review
        .repaired
        .iter()
        .fold(there, |html, repair| html.add(&alert(&Html::default().text(repair.description()))));
    let (Some(wanted), Some(issuer)) = (&review.other_wanted, &review.metadata.issuer) else { return there };
    let other = Html::of("The agent asks for a secret of ").text(wanted.as_str()).put(", and this one is of ");
    there.add(&alert(&other.text(issuer.as_str()).put(". Add it only if you know why.")))
}
