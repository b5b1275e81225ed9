//! AWS principals: what an ARN says about who called.

/// Who an ARN names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Principal<'a> {
    /// As in `user_type`.
    pub(crate) user_type: &'static str,
    /// User or role.
    pub(crate) user_name: Option<&'a str>,
    /// Session of an assumed role.
    pub(crate) user_session: Option<&'a str>,
    /// The person, where the session is named by an e-mail address, as single sign-on does.
    pub(crate) user_email: Option<&'a str>,
}

/// Users of this name exist only to hold a Bedrock API key.
const API_KEY_USER: &str = "BedrockAPIKey-";

/// Whether an IAM user exists only to hold a Bedrock API key.
pub(crate) fn is_api_key_user(name: &str) -> bool {
    name.starts_with(API_KEY_USER)
}

/// Reads a principal; what is no ARN, or an ARN of something else, is `unknown`.
///
/// `arn:aws:sts::210987654321:assumed-role/HelpdeskBot/i-0ab12` is the role `HelpdeskBot` in the session `i-0ab12`.
pub(crate) fn principal<'a>(arn: &'a str) -> Principal<'a> {
    let unknown = Principal {
        user_type: "unknown",
        ..Principal::default()
    };
    let mut fields = arn.splitn(6, ':');
    let (Some("arn"), Some(_), Some("iam" | "sts"), Some(_), Some(_), Some(resource)) = (
        fields.next(),
        fields.next(),
        fields.next(),
        fields.next(),
        fields.next(),
        fields.next(),
    ) else {
        return unknown;
    };
    let (kind, rest) = resource.split_once('/').unwrap_or((resource, ""));
    let some = |text: &'a str| Some(text).filter(|text| !text.is_empty());
    // Users and roles may have a path before their name; a session's role has none.
    let name = some(rest.rsplit('/').next().unwrap_or(rest));
    match kind {
        "root" => Principal {
            user_type: "root",
            user_name: Some("root"),
            ..unknown
        },
        "user" => Principal {
            user_type: match name {
                Some(name) if is_api_key_user(name) => "api_key",
                _ => "iam_user",
            },
            user_name: name,
            ..unknown
        },
        "assumed-role" => {
            let (role, session) = rest.split_once('/').unwrap_or((rest, ""));
            Principal {
                user_type: "assumed_role",
                user_name: some(role),
                user_session: some(session),
                user_email: some(session).filter(|session| is_email(session)),
            }
        }
        "role" => Principal {
            user_type: "assumed_role",
            user_name: name,
            ..unknown
        },
        "federated-user" => Principal {
            user_type: "federated",
            user_name: some(rest),
            user_email: some(rest).filter(|name| is_email(name)),
            ..unknown
        },
        _ => unknown,
    }
}

/// Whether a session's name looks like an e-mail address.
fn is_email(text: &str) -> bool {
    text.split_once('@')
        .is_some_and(|(user, host)| !user.is_empty() && host.contains('.') && !host.contains('@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arn: &str) -> (&str, Option<&str>, Option<&str>, Option<&str>) {
        let found = principal(arn);
        (
            found.user_type,
            found.user_name,
            found.user_session,
            found.user_email,
        )
    }

    #[test]
    fn every_kind_of_principal() {
        for (arn, expected) in [
            (
                "arn:aws:iam::210987654321:user/dana",
                ("iam_user", Some("dana"), None, None),
            ),
            (
                "arn:aws-cn:iam::210987654321:user/eng/ml/dana",
                ("iam_user", Some("dana"), None, None),
            ),
            (
                "arn:aws:iam::210987654321:user/BedrockAPIKey-x9ab",
                ("api_key", Some("BedrockAPIKey-x9ab"), None, None),
            ),
            (
                "arn:aws:sts::210987654321:assumed-role/HelpdeskBot/i-0ab12",
                ("assumed_role", Some("HelpdeskBot"), Some("i-0ab12"), None),
            ),
            (
                "arn:aws-us-gov:sts::210987654321:assumed-role/AWSReservedSSO_Dev_0a/dana@example.com",
                (
                    "assumed_role",
                    Some("AWSReservedSSO_Dev_0a"),
                    Some("dana@example.com"),
                    Some("dana@example.com"),
                ),
            ),
            (
                "arn:aws:iam::210987654321:role/service-role/Indexer",
                ("assumed_role", Some("Indexer"), None, None),
            ),
            (
                "arn:aws:iam::210987654321:root",
                ("root", Some("root"), None, None),
            ),
            (
                "arn:aws:sts::210987654321:federated-user/dana",
                ("federated", Some("dana"), None, None),
            ),
            (
                "arn:aws:s3:::bucket/user/dana",
                ("unknown", None, None, None),
            ),
            ("<redacted>", ("unknown", None, None, None)),
            (
                "arn:aws:sts::1:assumed-role/",
                ("assumed_role", None, None, None),
            ),
            ("", ("unknown", None, None, None)),
        ] {
            assert_eq!(read(arn), expected, "{arn}");
        }
    }
}
