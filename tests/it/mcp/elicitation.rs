//! URL-mode elicitation: the client shows the link to its user if it declares the capability, in every revision.

use countersign::{
    domain::{
        audit::{Action, AuditFilter, Outcome},
        principal::Principal,
        scope::{Scope, ScopeSet},
    },
    operations::{EnrollSecret, Enrolled},
    transport::mcp::Reveal,
};
use serde_json::{Value, json};

use super::Wire;
use crate::kit::RFC_SEED;

/// A client of a handshake revision that declares these capabilities.
async fn client(revision: &str, capabilities: Value) -> Wire {
    let mut wire = Wire::connect(ScopeSet::ALL, Reveal::Once);
    let client = json!({"name": "tests", "version": "1"});
    let hello = json!({"protocolVersion": revision, "capabilities": capabilities, "clientInfo": client});
    wire.request("initialize", hello).await;
    wire.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}).to_string()).await;
    wire
}

/// Calls the tool and returns the server's request, if that comes before the answer.
async fn call(wire: &mut Wire) -> Value {
    let params = json!({"name": "enroll_totp_secret", "arguments": {"label": "ada"}});
    wire.send(&json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params}).to_string()).await;
    wire.receive().await
}

async fn reply(wire: &mut Wire, asked: &Value, answer: Value) {
    let mut message = json!({"jsonrpc": "2.0", "id": asked["id"]});
    message.as_object_mut().unwrap().extend(answer.as_object().unwrap().clone());
    wire.send(&message.to_string()).await;
}

async fn add(url: &str) {
    let url = url.to_owned();
    let key = format!("otpauth://totp/ada?secret={RFC_SEED}");
    tokio::task::spawn_blocking(move || crate::http::enrol_local::add_on_page(&url, &key)).await.unwrap();
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_client_that_shows_links_gets_the_secret_in_one_call_and_is_told_the_end() {
    for revision in ["2025-06-18", "2025-11-25"] {
        let mut wire = client(revision, json!({"elicitation": {"url": {}}})).await;

        let asked = call(&mut wire).await;
        assert_eq!(asked["method"], "elicitation/create", "{asked}");
        let params = &asked["params"];
        assert_eq!(params["mode"], "url", "{asked}");
        assert!(params["message"].as_str().unwrap().contains("shows the words"), "{asked}");
        reply(&mut wire, &asked, json!({"result": {"action": "accept"}})).await;
        add(params["url"].as_str().unwrap()).await;

        let mut said = [wire.receive().await, wire.receive().await];
        said.sort_by_key(|message| message.get("method").is_some());
        let [answer, told] = said;
        assert_eq!(answer["result"]["structuredContent"]["status"], "OK", "{answer}");
        assert_eq!(told["method"], "notifications/elicitation/complete", "{told}");
        assert_eq!(told["params"]["elicitationId"], params["elicitationId"]);
        assert!(!format!("{asked}{answer}{told}").contains(RFC_SEED));
    }
}

#[tokio::test]
async fn what_the_user_refuses_in_the_client_ends_the_enrolment() {
    for (action, status) in [("decline", "DECLINED"), ("cancel", "CANCELLED")] {
        let mut wire = client("2025-11-25", json!({"elicitation": {"form": {}, "url": {}}})).await;
        let asked = call(&mut wire).await;
        reply(&mut wire, &asked, json!({"result": {"action": action}})).await;
        let mut said = [wire.receive().await, wire.receive().await];
        said.sort_by_key(|message| message.get("method").is_some());
        assert_eq!(said[0]["result"]["structuredContent"]["status"], status, "{said:?}");
        assert_eq!(said[1]["method"], "notifications/elicitation/complete");
    }
}

#[tokio::test]
async fn a_caller_without_the_scope_ends_no_enrolment_by_declining() {
    let mut wire = Wire::connect([Scope::CodesRead].into_iter().collect(), Reveal::Once);
    let all = Principal::stdio(wire.vault.account, ScopeSet::ALL, None);
    let begun = wire.vault.service.perform(&all, EnrollSecret::default()).await.unwrap();
    let Enrolled::Pending { id, .. } = begun else { panic!("it has begun") };
    let meta = stateless();
    let answers = json!({"enrollment": {"action": "decline"}});
    let call = json!({"_meta": meta, "name": "enroll_totp_secret", "arguments": {},
        "requestState": wire.vault.service.request_state_of(id), "inputResponses": answers});

    let answer = wire.request("tools/call", call).await;

    assert!(answer["result"]["content"][0]["text"].as_str().unwrap().contains("permission_denied"), "{answer}");
    assert_eq!(wire.vault.service.is_enrolment_open(id).await, Ok(true));
    let ended = wire.vault.rows(AuditFilter { action: Some(Action::EnrolDecline), ..AuditFilter::default() }).await;
    assert_eq!(ended.iter().map(|row| row.entry.outcome).collect::<Vec<_>>(), [Outcome::PermissionDenied]);
}

#[tokio::test]
async fn a_client_that_can_show_no_link_gets_it_for_its_model() {
    for capabilities in [json!({}), json!({"elicitation": {}}), json!({"elicitation": {"form": {}}})] {
        let mut wire = client("2025-11-25", capabilities).await;
        let answer = call(&mut wire).await;
        assert_eq!(answer["result"]["structuredContent"]["status"], "PENDING", "{answer}");
    }
    let mut wire = client("2025-11-25", json!({"elicitation": {"url": {}}})).await;
    let asked = call(&mut wire).await;
    reply(&mut wire, &asked, json!({"error": {"code": -32601, "message": "no"}})).await;
    let answer = wire.receive().await;
    let answer = &answer["result"]["structuredContent"];
    assert_eq!((&answer["status"], &answer["enrollment_url"]), (&json!("PENDING"), &asked["params"]["url"]));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn at_the_stateless_revision_the_call_comes_again() {
    let meta = stateless();
    for (action, status) in [("accept", "OK"), ("decline", "DECLINED"), ("cancel", "CANCELLED")] {
        let mut wire = Wire::connect(ScopeSet::ALL, Reveal::Once);
        let params = json!({"_meta": meta, "name": "enroll_totp_secret", "arguments": {"label": "ada"}});
        let asked = wire.request("tools/call", params).await;
        let asked = &asked["result"];
        assert_eq!(asked["resultType"], "input_required", "{asked}");
        let request = &asked["inputRequests"]["enrollment"];
        assert_eq!((&request["method"], &request["params"]["mode"]), (&json!("elicitation/create"), &json!("url")));
        if action == "accept" {
            add(request["params"]["url"].as_str().unwrap()).await;
        }

        let answer = wire.request("tools/call", again(&asked["requestState"], action)).await;

        assert_eq!(answer["result"]["structuredContent"]["status"], status, "{answer}");
    }
}

#[tokio::test]
async fn a_request_state_is_signed_and_a_forged_one_ends_nothing() {
    let mut wire = Wire::connect(ScopeSet::ALL, Reveal::Once);
    let caller = Principal::stdio(wire.vault.account, ScopeSet::ALL, None);
    let begun = wire.vault.service.perform(&caller, EnrollSecret::default()).await.unwrap();
    let Enrolled::Pending { id, url, .. } = begun else { panic!("it has begun") };
    let state = wire.vault.service.request_state_of(id);
    let token = url.rsplit('/').next().unwrap().to_owned();
    assert_ne!(state, token, "the state opens the page");
    let changed: String = state.chars().rev().collect();
    let cut = state[..state.len() - 1].to_owned();
    let longer = format!("{state}A");
    for forged in [id.to_string(), token, changed, cut, longer, "x".to_owned()] {
        for action in ["accept", "decline"] {
            let answer = wire.request("tools/call", again(&json!(forged), action)).await;
            let text = answer["result"]["content"][0]["text"].as_str().unwrap();
            assert!(text.contains("`requestState` is not one that this server gave"), "{forged}: {text}");
        }
    }
    for unknown in ["x", ""] {
        let answer = wire.request("tools/call", again(&json!(state), unknown)).await;
        let text = answer["result"]["content"][0]["text"].as_str().unwrap();
        assert!(text.contains("`enrollment` needs an `action`"), "{text}");
    }
    assert_eq!(wire.vault.service.is_enrolment_open(id).await, Ok(true));
    let begun = AuditFilter { action: Some(Action::EnrolBegin), ..AuditFilter::default() };
    let outcomes: Vec<_> = wire.vault.rows(begun).await.iter().map(|row| row.entry.outcome).collect();
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::InvalidArgument).count(), 14, "{outcomes:?}");
    let answer = wire.request("tools/call", again(&json!(state), "decline")).await;
    assert_eq!(answer["result"]["structuredContent"]["status"], "DECLINED", "{answer}");
}

/// The parameters of a client of the stateless revision that repeats its call.
fn again(state: &Value, action: &str) -> Value {
    json!({"_meta": stateless(), "name": "enroll_totp_secret", "arguments": {"label": "ada"}, "requestState": state,
        "inputResponses": {"enrollment": {"action": action}}})
}

fn stateless() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "tests", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"url": {}}},
    })
}

#[tokio::test]
async fn a_refused_answer_to_a_request_state_leaves_one_row() {
    let mut wire = Wire::connect(ScopeSet::ALL, Reveal::Once);
    let begun = wire.vault.service.perform(&wire.vault.person, EnrollSecret::default()).await.unwrap();
    let Enrolled::Pending { id, .. } = begun else { panic!("it has begun") };
    let state = json!(wire.vault.service.request_state_of(id));

    for (action, rows) in [("decline", 1), ("cancel", 2), ("accept", 3)] {
        let answer = wire.request("tools/call", again(&state, action)).await;
        let text = answer["result"]["content"][0]["text"].as_str().unwrap();
        assert!(text.contains("not_found"), "{action}: {text}");
        let all = wire.vault.all_rows(AuditFilter::default()).await;
        let refused = all.iter().filter(|row| row.entry.outcome != Outcome::Ok).count();
        assert_eq!(refused, rows, "{action}");
    }
    assert_eq!(wire.vault.service.is_enrolment_open(id).await, Ok(true));
}

#[tokio::test]
async fn an_answer_that_is_to_nothing_that_was_asked_is_refused_and_not_taken_for_consent() {
    let mut wire = Wire::connect(ScopeSet::ALL, Reveal::Once);
    let caller = Principal::stdio(wire.vault.account, ScopeSet::ALL, None);
    let begun = wire.vault.service.perform(&caller, EnrollSecret::default()).await.unwrap();
    let Enrolled::Pending { id, .. } = begun else { panic!("it has begun") };
    let mut call = again(&json!(wire.vault.service.request_state_of(id)), "accept");
    let accept = json!({"action": "accept"});
    for (answers, told) in [
        (json!({"enrolment": accept}), "`enrollment` alone"),
        (json!({"enrollment": accept, "x": {"action": "decline"}}), "`enrollment` alone"),
        (json!({"enrollment": 5}), "needs an `action`"),
        (json!({"enrollment": {}}), "needs an `action`"),
        (json!({"enrollment": {"action": 7}}), "needs an `action`"),
        (json!({"enrollment": {"action": "Accept"}}), "needs an `action`"),
    ] {
        call["inputResponses"] = answers;
        let answer = wire.request("tools/call", call.clone()).await;
        let text = answer["result"]["content"][0]["text"].as_str().unwrap();
        assert!(text.contains("inputResponses") && text.contains(told), "{}: {text}", call["inputResponses"]);
    }
    assert_eq!(wire.vault.service.is_enrolment_open(id).await, Ok(true));
}
