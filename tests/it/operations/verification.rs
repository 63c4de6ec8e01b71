//! Checking codes that people typed.

use countersign::{
    domain::ids::SecretId,
    operations::{ErrorCode, Refusal},
};

use crate::kit::{Vault, typed};

const START: i64 = 1_111_111_080;
/// The RFC's code for the step that begins at [`START`], and its neighbours.
const NOW: &str = "081804";

async fn check(vault: &Vault, id: SecretId, code: &str) -> Result<bool, Refusal> {
    vault.service.perform(&vault.person, typed(id, code)).await.map(|verification| verification.valid)
}

#[tokio::test]
async fn a_code_is_right_one_step_either_side_and_once() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    for second in [-60, 60, 90] {
        vault.clock.set_seconds(START + second);
        assert!(!check(&vault, id, NOW).await.unwrap(), "{second}");
    }
    vault.clock.set_seconds(START + 59);
    assert!(check(&vault, id, "081 804").await.unwrap());
    assert!(!check(&vault, id, NOW).await.unwrap());
}

#[tokio::test]
async fn a_code_may_be_parted_by_any_white_space_or_dash() {
    for typed in [
        "081 804",
        "081-804",
        "081\u{a0}804",
        "081\u{2011}804",
        "081\u{202f}804",
        "081\u{2013}804\r\n",
        "\u{200e}081804",
    ] {
        let vault = Vault::new();
        let id = vault.register("A").await.secret.id;
        vault.clock.set_seconds(START);
        assert!(check(&vault, id, typed).await.unwrap(), "{}", typed.escape_unicode());
    }
}

#[tokio::test]
async fn reading_a_code_does_not_use_up_its_verification_nor_the_other_way() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    vault.clock.set_seconds(START);
    super::code(&vault.service, &vault.person, id, super::single_use()).await.unwrap();
    assert!(check(&vault, id, NOW).await.unwrap());
}

#[tokio::test]
async fn wrong_codes_slow_down_further_tries_in_every_process() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    vault.clock.set_seconds(START);
    for _ in 0..5 {
        assert!(!check(&vault, id, "000000").await.unwrap());
    }
    let refusal = check(&vault, id, NOW).await.unwrap_err();
    assert_eq!((refusal.code(), refusal.retry_after()), (ErrorCode::RateLimited, Some(1)));
    let elsewhere = vault.another_service();
    assert!(elsewhere.perform(&vault.person, typed(id, NOW)).await.is_err());
    // Reading is never blocked by it.
    super::code(&vault.service, &vault.person, id, super::plain()).await.unwrap();
    vault.clock.set_seconds(START + 1);
    assert!(check(&vault, id, NOW).await.unwrap());
}

#[tokio::test]
async fn a_code_of_another_form_is_named_and_is_no_try() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    for typed in ["", "12345", "1234567", "12345a", "１２３４５６"] {
        let refusal = check(&vault, id, typed).await.unwrap_err();
        assert_eq!(refusal.to_string(), "`code` must be 6 digits");
    }
    vault.clock.set_seconds(START);
    assert!(check(&vault, id, NOW).await.unwrap());
}
