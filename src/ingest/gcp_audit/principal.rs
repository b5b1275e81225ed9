//! Who made a request to Google Cloud.

use crate::ingest::json::Value;

/// Who it was. A key is a downloaded one, which outlives whoever took it; a chain of delegation stays in `attributes`.
pub(super) struct Principal<'a> {
    pub(super) caller: Option<&'a str>,
    pub(super) user_type: Option<&'static str>,
    pub(super) name: Option<&'a str>,
    pub(super) email: Option<&'a str>,
    pub(super) key: Option<&'a str>,
}

impl<'a> Principal<'a> {
    pub(super) fn read(payload: Value<'a>) -> Principal<'a> {
        let Some(who) = payload
            .get("authenticationInfo")
            .or_else(|| payload.get("authentication_info"))
        else {
            return Principal {
                caller: None,
                user_type: None,
                name: None,
                email: None,
                key: None,
            };
        };
        let email = who.text_of(&["principalEmail", "principal_email"], "user_email");
        let subject = who.text_of(&["principalSubject", "principal_subject"], "caller");
        let caller = subject.or(email);
        let is_account = |text: &str| {
            text.starts_with("serviceAccount:") || text.ends_with(".gserviceaccount.com")
        };
        let user_type = caller.map(|caller| {
            if is_account(caller) || email.is_some_and(is_account) {
                "service_account"
            } else if caller.starts_with("principal") {
                // `principal://iam.googleapis.com/locations/global/workforcePools/…`
                "federated"
            } else if caller.starts_with("user:") || caller.contains('@') {
                "user"
            } else {
                "unknown"
            }
        });
        Principal {
            caller,
            user_type,
            name: email
                .and_then(|email| email.split_once('@'))
                .map(|(name, _)| name),
            email: email.filter(|email| email.contains('@')),
            key: who.text_of(
                &["serviceAccountKeyName", "service_account_key_name"],
                "credential_id",
            ),
        }
    }
}
