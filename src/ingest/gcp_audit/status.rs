//! How an operation ended: a gRPC code, or a permission that was not granted.

use crate::ingest::json::Value;

/// How it ended.
pub(super) struct Status<'a> {
    pub(super) outcome: &'static str,
    pub(super) error: Option<&'a str>,
}

impl<'a> Status<'a> {
    pub(super) fn read(payload: Value<'a>) -> Status<'a> {
        let code = payload.find("status/code").and_then(Value::as_int);
        let denied = payload
            .get("authorizationInfo")
            .or_else(|| payload.get("authorization_info"))
            .into_iter()
            .flat_map(Value::items_or_self)
            .any(|check| check.get("granted").and_then(Value::as_bool) == Some(false));
        match code {
            Some(code) if code != 0 => {
                payload.take("status/code", "error_type");
                Status {
                    outcome: "failure",
                    error: Some(
                        grpc_name(code).unwrap_or_else(|| payload.format(format_args!("{code}"))),
                    ),
                }
            }
            _ if denied => Status {
                outcome: "failure",
                error: Some("PERMISSION_DENIED"),
            },
            _ => Status {
                outcome: "success",
                error: None,
            },
        }
    }
}

/// Names of gRPC's status codes, from `google/rpc/code.proto`.
fn grpc_name(code: i64) -> Option<&'static str> {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    usize::try_from(code)
        .ok()
        .and_then(|code| NAMES.get(code).copied())
}
