//! Links that register one app for push messages. They hold no secret, and only their own app understands them.

/// The schemes of such links, and the app of each.
const APPS: [(&str, &str); 9] = [
    ("phonefactor:", "Microsoft Authenticator"),
    ("microsoft-authenticator:", "Microsoft Authenticator"),
    ("msauth:", "Microsoft Authenticator"),
    ("oktaverify:", "Okta Verify"),
    ("duo:", "Duo Mobile"),
    ("vipaccess:", "Symantec VIP"),
    ("pushauth:", "ForgeRock Authenticator"),
    ("mfauth:", "ForgeRock Authenticator"),
    ("igmobileotp:", "Entrust Identity"),
];

/// The app that a link is for, if it registers one for push messages.
pub fn push_app(text: &str) -> Option<&'static str> {
    let text = text.trim_start();
    let is = |scheme: &str| {
        text.split_at_checked(scheme.len())
            .is_some_and(|(start, rest)| start.eq_ignore_ascii_case(scheme) && rest.starts_with("//"))
    };
    APPS.iter().find(|(scheme, _)| is(scheme)).map(|(_, app)| *app)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registration_for_push_messages_is_known_by_its_scheme() {
        for (link, app) in [
            ("phonefactor://activate_account?code=1", Some("Microsoft Authenticator")),
            (" OktaVerify://email/?f=1", Some("Okta Verify")),
            ("duo://CODE-aG9zdA", Some("Duo Mobile")),
            ("duo", None),
            ("duo:CODE", None),
            ("otpauth://totp/duo://x", None),
            ("https://example.com", None),
            ("dü://", None),
        ] {
            assert_eq!(push_app(link), app, "{link}");
        }
    }
}
