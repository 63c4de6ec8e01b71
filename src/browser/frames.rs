//! Examines a browser's pages and frames: those of the right origins are searched for places for a code.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::future::join_all;
use serde::Deserialize;
use serde_json::json;

use super::{
    FieldQuery,
    field::{Field, Place},
    link::{Link, LinkError, answer, lock},
};
use crate::domain::{
    origin::Origin,
    page::{Candidate, PageId},
};

/// How long one page may take to answer: a page with an open dialogue never does, and must not hold up the others.
const ANSWERS_WITHIN: Duration = Duration::from_millis(1500);
/// Frames within frames that are followed upwards.
const FRAMES_DEEP_MAX: usize = 32;
/// The name of the world in which our script runs, beside the page's own.
const WORLD: &str = "countersign";
/// The script that runs inside a frame: `page.js` types, with the value of `find.js`, which finds the field by the
/// phrases of `words.js`.
const SCRIPT: &str =
    concat!("(", include_str!("page.js"), ")((", include_str!("find.js"), ")(", include_str!("words.js"), "))");

/// A page or frame that was seen.
pub(super) struct FrameView {
    pub(super) candidate: Candidate,
    /// Places for a code.
    pub(super) fields: u64,
    pub(super) is_selector_invalid: bool,
    /// Whether it has one of the origins and does not answer.
    pub(super) is_silent: bool,
    /// Whether it has loaded completely, including its scripts.
    pub(super) is_loaded: bool,
    /// The frames and the page that it is in, by their ids.
    pub(super) within: Vec<PageId>,
    /// Where a code would go; `None`: the origin is not among those that are sought.
    place: Option<Place>,
}

impl FrameView {
    /// A page that can't be typed into.
    const fn of(candidate: Candidate) -> Self {
        let within = Vec::new();
        Self {
            candidate,
            fields: 0,
            is_selector_invalid: false,
            is_silent: false,
            is_loaded: true,
            within,
            place: None,
        }
    }

    /// Whether its origin is among those that are sought.
    pub(super) const fn may_be_typed_into(&self) -> bool {
        self.place.is_some()
    }

    /// Whether it is of one of the origins, as far as is known.
    pub(super) const fn is_of_an_origin(&self) -> bool {
        self.may_be_typed_into() || self.is_silent
    }

    pub(super) fn into_field(self, selector: Option<&str>) -> Option<Field> {
        Some(Field::new(self.place?, selector))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Target {
    #[serde(rename = "targetId")]
    id: String,
    r#type: String,
    url: String,
    /// Such as `prerender`: a page that is not shown yet.
    subtype: Option<String>,
    /// The frame that it is in, if it is a frame with a process of its own.
    parent_frame_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tree {
    frame: Frame,
    #[serde(default)]
    child_frames: Vec<Tree>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Frame {
    id: String,
    parent_id: Option<String>,
    security_origin: String,
}

/// The script's report on a frame.
#[derive(Deserialize)]
struct Look {
    origin: String,
    title: String,
    fields: u64,
    settled: bool,
    selector: Option<String>,
}

/// Examines every page and frame of a browser, all at the same time.
pub(super) async fn look_at(link: &Arc<Link>, sought: &FieldQuery<'_>) -> Result<Vec<FrameView>, LinkError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Targets {
        target_infos: Vec<Target>,
    }
    let targets: Targets = answer(link.call(None, "Target.getTargets", json!({}), ANSWERS_WITHIN).await?)?;
    let is_page = |target: &Target| {
        matches!(target.r#type.as_str(), "page" | "iframe") && target.subtype.as_deref().is_none_or(str::is_empty)
    };
    let looks = targets.target_infos.iter().filter(|target| is_page(target)).map(|target| async {
        let looked = tokio::time::timeout(ANSWERS_WITHIN, look_into(link, target, sought)).await;
        match looked {
            Ok(Ok(seen)) => seen,
            // The page went away.
            Ok(Err(LinkError::Refused { .. } | LinkError::Gone(_))) => Vec::new(),
            Ok(Err(LinkError::Late)) | Err(_) => silent(target, sought).into_iter().map(|seen| (seen, None)).collect(),
        }
    });
    let seen: Vec<_> = join_all(looks).await.into_iter().flatten().collect();
    let parents: HashMap<PageId, PageId> =
        seen.iter().filter_map(|(seen, parent)| Some((seen.candidate.page.clone(), parent.clone()?))).collect();
    let placed = |(mut seen, parent): (FrameView, Option<PageId>)| {
        let above = std::iter::successors(parent, |frame| parents.get(frame).cloned());
        seen.within = above.take(FRAMES_DEEP_MAX).collect();
        seen
    };
    Ok(seen.into_iter().map(placed).collect())
}

/// A page that does not answer, if it is at one of the origins. Its address shows that, which suffices to report it.
fn silent(target: &Target, sought: &FieldQuery<'_>) -> Option<FrameView> {
    let (scheme, rest) = target.url.split_once("://")?;
    let origin = format!("{scheme}://{}", rest.split('/').next()?);
    let page = is_sought(&origin, sought).then(|| target.id.parse().ok())??;
    Some(FrameView { is_silent: true, ..FrameView::of(Candidate::new(page, origin, "")) })
}

/// Whether an origin is among those that are sought.
fn is_sought(origin: &str, sought: &FieldQuery<'_>) -> bool {
    origin.parse::<Origin>().is_ok_and(|origin| sought.origins.iter().any(|allowed| allowed.covers(&origin)))
}

/// Examines a page and the frames that its process has; other frames are targets of their own.
async fn look_into(
    link: &Arc<Link>,
    target: &Target,
    sought: &FieldQuery<'_>,
) -> Result<Vec<(FrameView, Option<PageId>)>, LinkError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer {
        frame_tree: Tree,
    }
    let session = session_of(link, target).await?;
    let found = link.call(Some(&session), "Page.getFrameTree", json!({}), ANSWERS_WITHIN).await;
    if found.is_err() {
        lock(&link.sessions).remove(&target.id);
    }
    let Answer { frame_tree } = answer(found?)?;
    let mut frames = Vec::new();
    flatten(frame_tree, &mut frames);
    let seen = frames.into_iter().map(|frame| async {
        let parent = frame.parent_id.as_ref().or(target.parent_frame_id.as_ref()).and_then(|id| id.parse().ok());
        look_in_frame(link, &session, frame, sought).await.map(|seen| (seen, parent))
    });
    Ok(join_all(seen).await.into_iter().flatten().collect())
}

async fn session_of(link: &Link, target: &Target) -> Result<String, LinkError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Attached {
        session_id: String,
    }
    if let Some(session) = lock(&link.sessions).get(&target.id) {
        return Ok(session.clone());
    }
    let parameters = json!({"targetId": target.id, "flatten": true});
    let Attached { session_id } = answer(link.call(None, "Target.attachToTarget", parameters, ANSWERS_WITHIN).await?)?;
    let sessions: &mut HashMap<_, _> = &mut lock(&link.sessions);
    sessions.insert(target.id.clone(), session_id.clone());
    Ok(session_id)
}

fn flatten(tree: Tree, into: &mut Vec<Frame>) {
    into.push(tree.frame);
    for child in tree.child_frames {
        flatten(child, into);
    }
}

/// Looks for places for a code in a frame of a right origin. `None`: the frame went away.
async fn look_in_frame(link: &Arc<Link>, session: &str, frame: Frame, sought: &FieldQuery<'_>) -> Option<FrameView> {
    let page: PageId = frame.id.parse().ok()?;
    if !is_sought(&frame.security_origin, sought) {
        return Some(FrameView::of(Candidate::new(page, String::new(), "")));
    }
    let object = script_in(link, session, page.as_str()).await.ok()?;
    let place = Place { link: Arc::clone(link), session: session.to_owned(), object, origin: String::new() };
    let look: Look = answer(place.call("look", json!([sought.selector]), ANSWERS_WITHIN).await.ok()?).ok()?;
    // The origin is the one that the frame reports: it may have changed since the browser listed it.
    let place = is_sought(&look.origin, sought).then(|| Place { origin: look.origin.clone(), ..place });
    let candidate = Candidate::new(page, look.origin, &look.title);
    Some(FrameView {
        fields: look.fields,
        is_selector_invalid: look.selector.is_some(),
        is_loaded: look.settled,
        place,
        ..FrameView::of(candidate)
    })
}

/// Starts our script in a frame, in a world of its own, and returns the browser's id of the object that the script
/// made.
async fn script_in(link: &Link, session: &str, frame: &str) -> Result<String, LinkError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct World {
        execution_context_id: u64,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Made {
        object_id: String,
    }
    #[derive(Deserialize)]
    struct Answer {
        result: Made,
    }
    let parameters = json!({"frameId": frame, "worldName": WORLD});
    let world: World = answer(link.call(Some(session), "Page.createIsolatedWorld", parameters, ANSWERS_WITHIN).await?)?;
    let parameters = json!({"expression": SCRIPT, "contextId": world.execution_context_id});
    let made: Answer = answer(link.call(Some(session), "Runtime.evaluate", parameters, ANSWERS_WITHIN).await?)?;
    Ok(made.result.object_id)
}
