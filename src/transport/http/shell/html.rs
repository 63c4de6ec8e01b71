//! Text of a page: text from outside is escaped when it is added.

use std::fmt::Display;

/// HTML.
#[derive(Default)]
pub(in crate::transport::http) struct Html(String);

impl Html {
    /// HTML from this program's own source.
    pub(in crate::transport::http) fn of(text: &'static str) -> Self {
        Self(text.to_owned())
    }

    /// Adds HTML from this program's own source.
    pub(in crate::transport::http) fn put(mut self, text: &'static str) -> Self {
        self.0.push_str(text);
        self
    }

    /// Adds text from any source, escaped.
    pub(in crate::transport::http) fn text(mut self, text: impl Display) -> Self {
        self.0.push_str(&escaped(&text.to_string()));
        self
    }

    /// Adds HTML.
    pub(in crate::transport::http) fn add(mut self, other: &Self) -> Self {
        self.0.push_str(&other.0);
        self
    }

    /// The whole text.
    pub(in crate::transport::http) fn into_text(self) -> String {
        self.0
    }
}

/// Escapes a text for elements and for quoted attributes. Characters that would change the direction of the text around
/// them are left out.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => {}
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_becomes_a_tag_or_ends_an_attribute() {
        let page = Html::of("<b title=\"").text("\"><script>'&\u{202E}").put("\">");
        assert_eq!(page.into_text(), "<b title=\"&quot;&gt;&lt;script&gt;&#39;&amp;\">");
    }
}
