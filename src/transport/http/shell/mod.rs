//! The shell of every page for people: its layout, style, script and headers. Pages are whole documents that work
//! without a script; a script adds convenience to the elements that it finds in the page.
//!
//! A page never contains unescaped text from outside, or anything from another site.

mod html;

use axum::{body::Body, response::Response};
use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_FRAME_OPTIONS},
};

pub(super) use html::Html;

/// The style sheet, which pages fetch as `style.css` beside them.
pub(super) const STYLE: &str = include_str!("style.css");
/// The script of every page, `page.js` beside them.
pub(super) const SCRIPT: &str = include_str!("page.js");

/// Allows only this server's style and scripts, images in `data:` URLs, and forms and requests to this server; allows
/// no frame around the page.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; img-src data:; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
);
/// The header with the devices that a page may use: none, unless the page sets it itself.
pub(super) const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
const NO_PERMISSIONS: HeaderValue =
    HeaderValue::from_static("camera=(), microphone=(), geolocation=(), display-capture=()");

/// A whole page.
pub(super) fn layout(title: &'static str, content: &Html) -> Html {
    Html::of("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>")
        .put(title)
        .put(
            " – Countersign</title>\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"robots\" content=\"noindex\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
             <link rel=\"icon\" href=\"data:,\">\n<link rel=\"stylesheet\" href=\"style.css\">\n\
             <script src=\"page.js\" defer></script>\n</head>\n<body>\n<main>\n<h1>",
        )
        .put(title)
        .put("</h1>\n")
        .add(content)
        .put("</main>\n<footer>Countersign, the authenticator app for AI agents</footer>\n</body>\n</html>\n")
}

/// A page with one message.
pub(super) fn message(title: &'static str, text: &'static str) -> Html {
    layout(title, &Html::of("<p>").put(text).put("</p>\n"))
}

/// A paragraph about a problem. It has the focus, so that it is seen and read out.
pub(super) fn alert(text: &Html) -> Html {
    Html::of("<p class=\"bad\" role=\"alert\" tabindex=\"-1\" autofocus>").add(text).put("</p>\n")
}

/// A paragraph about a success. It has the focus, too.
pub(super) fn done(text: &Html) -> Html {
    Html::of("<p class=\"good\" role=\"status\" tabindex=\"-1\" autofocus>").add(text).put("</p>\n")
}

/// The answer that carries a page.
pub(super) fn response(status: StatusCode, page: Html) -> Response {
    let mut response = Response::new(Body::from(page.into_text()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(PERMISSIONS_POLICY, NO_PERMISSIONS);
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    // With `no-referrer`, browsers send the forms of a page with `Origin: null`, which the guard refuses.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}

/// A file of a page.
pub(super) fn asset(media_type: &'static str, text: &'static str) -> Response {
    let mut response = Response::new(Body::from(text));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    // With cached files, a page that ends its server needs nothing more from it.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=600"));
    response
}
