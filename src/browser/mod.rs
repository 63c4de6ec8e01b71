//! Types a code into the page of a running browser, by the `DevTools` protocol: finds the frame and the field, and hands the
//! code to that frame alone.
//!
//! ```text
//! link     one connection to a browser: commands and their answers
//! pipe     the same over two named pipes, one program at a time
//! frames   the browser's pages and frames: which may be typed into, and where a code goes there
//! field    a place for a code in one frame: typing, submitting, and the outcome
//! outcomes the query for a field, and the outcomes of finding it and of typing a code
//! page.js  the script that runs inside the frame, in a world of its own that the page's scripts can't reach
//! ```
//!
//! The frame's origin is checked inside the frame, in the task that writes the digits. This module does not decide
//! about codes, takes no address from a caller, and puts no page's text into an error's message.

mod field;
mod frames;
mod link;
mod outcomes;
#[cfg(unix)]
mod pipe;

use std::{collections::HashSet, sync::Arc, time::Duration};

use futures::future::join_all;
use tokio::time::{Instant, sleep, timeout};

pub use self::{
    field::Field,
    outcomes::{FieldQuery, NotFound, Typed, Untyped},
};
use self::{
    frames::{FrameView, look_at},
    link::Link,
};
use crate::domain::browser_address::BrowserAddress;

/// Whether a registrar sells names under this one, such as `co.uk`: then the hosts below it belong to strangers.
pub fn is_public_suffix(host: &str) -> bool {
    psl::domain(host.as_bytes()).is_none()
}

/// How long a page of the right origin may take to show its field.
const SETTLES_WITHIN: Duration = Duration::from_secs(10);
/// How long a field waits for the rest of its page: without its scripts, a form sends the code elsewhere, such as into an address.
const LOADS_WITHIN: Duration = Duration::from_secs(3);
/// How long a browser without a page of the right origin may take to open one.
const OPENS_WITHIN: Duration = Duration::from_secs(1);
/// The least time that a browser has to answer, even if the caller does not wait.
const ANSWERS_WITHIN_MIN: Duration = Duration::from_secs(1);
/// The most pages that an error lists: a page may have hundreds of frames, and an agent reads every word.
const CANDIDATES_MAX: usize = 16;
/// The pause between two looks.
const LOOKS_EVERY: Duration = Duration::from_millis(100);
/// The time that a wait for pipes leaves for a look.
const LOOK_MIN: Duration = Duration::from_secs(1);

/// The browsers that codes may be typed in.
#[derive(Debug)]
pub struct Browsers {
    addresses: Vec<BrowserAddress>,
}

impl Browsers {
    /// Browsers at these addresses. An address that is given twice counts once.
    pub fn new(addresses: Vec<BrowserAddress>) -> Self {
        let mut all = Vec::with_capacity(addresses.len());
        for address in addresses {
            if !all.contains(&address) {
                all.push(address);
            }
        }
        Self { addresses: all }
    }

    /// Whether none is configured.
    pub const fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }

    /// Finds the field of a page that is sought, and waits for it while pages load.
    ///
    /// # Errors
    /// [`NotFound`].
    pub async fn find(&self, sought: &FieldQuery<'_>) -> Result<Field, NotFound> {
        let within = sought.within.max(ANSWERS_WITHIN_MIN);
        let mut why = NotFound::NoBrowser("it does not answer".to_owned());
        timeout(within, self.look(sought, &mut why)).await.unwrap_or(Err(why))
    }

    /// Looks until a field is found or there is nothing more to wait for. `why` is set to the reason that the last look
    /// found none.
    async fn look(&self, sought: &FieldQuery<'_>, why: &mut NotFound) -> Result<Field, NotFound> {
        let begun = Instant::now();
        let within = sought.within.max(ANSWERS_WITHIN_MIN);
        // Pipes may be held for a whole period, by a fill that waits for the next code.
        let links = self.links(within.saturating_sub(LOOK_MIN).max(within / 2)).await?;
        loop {
            let looks = join_all(links.iter().map(|link| look_at(link, sought))).await;
            let mut seen = Vec::new();
            let mut lost = None;
            for look in looks {
                match look {
                    Ok(frames) => seen.extend(frames),
                    Err(cause) => lost = Some(cause.to_string()),
                }
            }
            // A browser that is named twice shows each page twice.
            let mut pages = HashSet::new();
            seen.retain(|seen| pages.insert(seen.candidate.page.clone()));
            if let Some(cause) = lost.filter(|_| seen.is_empty()) {
                return Err(NotFound::NoBrowser(cause));
            }
            let patience = if seen.iter().any(FrameView::is_of_an_origin) { SETTLES_WITHIN } else { OPENS_WITHIN };
            let is_early = begun.elapsed() < LOADS_WITHIN.min(sought.within / 2);
            match chosen(seen, sought, is_early) {
                Ok(field) => return Ok(field),
                Err(not_found) if !not_found.may_pass() || begun.elapsed() >= patience.min(sought.within) => {
                    return Err(not_found);
                }
                Err(not_found) => *why = not_found,
            }
            sleep(LOOKS_EVERY).await;
        }
    }

    /// Connects to the browsers that can be reached. If other programs use their pipes, waits for them for at most
    /// `within`.
    async fn links(&self, within: Duration) -> Result<Vec<Arc<Link>>, NotFound> {
        let mut links = Vec::with_capacity(self.addresses.len());
        let mut obstacle = "none is configured".to_owned();
        for opened in join_all(self.addresses.iter().map(|address| Link::open(address, within))).await {
            match opened {
                Ok(link) => links.push(link),
                Err(why) => obstacle = why.to_string(),
            }
        }
        if links.is_empty() { Err(NotFound::NoBrowser(obstacle)) } else { Ok(links) }
    }
}

/// Returns the one field that is sought, or the reason that no field is chosen. While `is_early`, pages that load don't
/// count.
fn chosen(seen: Vec<FrameView>, sought: &FieldQuery<'_>, is_early: bool) -> Result<Field, NotFound> {
    // A page stands for the frames in it, unless it asks for a code itself.
    let is_it = |seen: &FrameView| sought.page.is_none_or(|page| seen.candidate.page == *page);
    let asks_itself = seen.iter().any(|seen| is_it(seen) && seen.fields > 0);
    let is_in_it = |seen: &FrameView| sought.page.is_some_and(|page| seen.within.contains(page));
    let mut named: Vec<FrameView> =
        seen.into_iter().filter(|seen| is_it(seen) || !asks_itself && is_in_it(seen)).collect();
    if named.is_empty() && sought.page.is_some() {
        return Err(NotFound::NoSuchPage);
    }
    let is_one_silent = named.iter().any(|seen| seen.is_silent);
    named.retain(FrameView::may_be_typed_into);
    if named.is_empty() {
        return Err(if is_one_silent { NotFound::Silent } else { NotFound::WrongOrigin });
    }
    if named.iter().any(|seen| seen.is_selector_invalid) {
        return Err(NotFound::Selector);
    }
    let candidates = |seen: Vec<FrameView>| seen.into_iter().take(CANDIDATES_MAX).map(|seen| seen.candidate).collect();
    let (mut with_field, without): (Vec<FrameView>, Vec<FrameView>) =
        named.into_iter().partition(|seen| seen.fields > 0);
    match with_field.pop() {
        None if is_one_silent => Err(NotFound::Silent),
        None => Err(NotFound::NoField(candidates(without))),
        Some(only) if is_early && !only.is_loaded => Err(NotFound::NoField(vec![only.candidate])),
        Some(only) if with_field.is_empty() && only.fields == 1 => {
            only.into_field(sought.selector).ok_or(NotFound::WrongOrigin)
        }
        Some(only) if with_field.is_empty() => Err(NotFound::SeveralFields(vec![only.candidate])),
        Some(last) => {
            with_field.push(last);
            Err(NotFound::SeveralPages(candidates(with_field)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_that_is_named_twice_counts_once() {
        let [one, other] = ["/a", "/b"].map(|folder| BrowserAddress::Pipes(folder.into()));
        assert_eq!(Browsers::new(vec![one.clone(), other.clone(), one.clone()]).addresses, [one, other]);
    }
}
