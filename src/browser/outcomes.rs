//! The query for a field in a browser, and the outcomes of finding it and of typing a code. In every build.

use std::time::Duration;

use crate::domain::{
    origin::Origin,
    page::{Candidate, PageId},
};

/// The query for a field.
#[derive(Debug, Clone, Copy)]
pub struct FieldQuery<'a> {
    /// The origins that the code may go to.
    pub origins: &'a [Origin],
    /// The page or frame; `None`: the only one with a field.
    pub page: Option<&'a PageId>,
    /// The field, as a selector of CSS.
    pub selector: Option<&'a str>,
    /// The longest time to look. A browser has at least a second.
    pub within: Duration,
}

/// The reason that no field was found.
#[derive(Debug, PartialEq, Eq)]
pub enum NotFound {
    /// No browser can be reached. The text holds no address.
    NoBrowser(String),
    /// No page has one of the origins.
    WrongOrigin,
    /// A page of one of the origins does not answer.
    Silent,
    /// No open page has this id.
    NoSuchPage,
    /// The selector is not valid CSS.
    Selector,
    /// Pages of the origins, without a field for a code.
    NoField(Vec<Candidate>),
    /// One page with several fields that may be for a code.
    SeveralFields(Vec<Candidate>),
    /// Several pages with a field.
    SeveralPages(Vec<Candidate>),
}

impl NotFound {
    /// Whether another look may find a field that this one did not, because pages load.
    pub(super) const fn may_pass(&self) -> bool {
        matches!(self, Self::WrongOrigin | Self::Silent | Self::NoSuchPage | Self::NoField(_))
    }
}

/// The outcome of typing a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Typed {
    /// It stands in the field.
    Filled,
    /// It was submitted.
    Submitted,
    /// It is not known whether the page has it: it went away, does not answer, or shows something else than was typed.
    Unknown,
}

/// The reason that nothing was typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Untyped {
    /// The page moved on, or its frame has another origin now.
    Moved,
    /// The field is gone.
    NoField,
    /// There are several fields now.
    SeveralFields,
    /// The field does not take digits.
    Refused,
}
