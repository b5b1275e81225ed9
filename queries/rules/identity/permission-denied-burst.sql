-- /// rule
-- id          = "permission-denied-burst"
-- title       = "Caller was denied many times, on several methods"
-- version     = 1
-- status      = "stable"
-- severity    = "medium"
-- confidence  = "medium"
-- source      = ["calls", "audit"]
-- requires    = ["caller"]
-- window      = "30m"
-- every       = "5m"
-- entity      = ["caller"]
-- atlas       = ["AML.T0040"]
-- owasp       = ["ASI03:2026"]
-- description = """
-- Somebody with a credential tries what it may do. Counts denied requests by caller, of model calls and management
-- operations together, and the different methods among them; a client with one wrong permission stays on one method.
-- Denials are recognised on every cloud: gRPC permission denied, AWS access denied, HTTP 403. Several logs of one
-- request count once."""
-- false_positives = ["A new service whose role is not finished", "Inventory tools that list everything they can reach"]
-- evasion     = ["Few methods", "Slowly: under the line in every half hour", "A new credential for every attempt"]
-- runbook     = "List the methods in order: a growing reach is reconnaissance; check where the credential was used before"
--
-- [params]
-- min_denied = { default = 10, min = 1, doc = "denied requests in half an hour" }
-- min_methods = { default = 3, min = 1, doc = "different methods among them" }
-- ///
WITH requests AS (
    SELECT
        event_time,
        caller,
        lower(operation_raw) AS method,
        coalesce(request_id, event_id) AS request,
        replace(lower(error_type), '_', '') AS error,
        http_status_code
    FROM calls
    WHERE event_time >= $window_start AND event_time < $window_end
        AND outcome <> 'success'
    UNION ALL
    SELECT
        event_time,
        caller,
        lower(action) AS method,
        coalesce(request_id, event_id) AS request,
        replace(lower(error_type), '_', '') AS error,
        http_status_code
    FROM audit
    WHERE event_time >= $window_start AND event_time < $window_end
        AND outcome <> 'success'
)

SELECT
    caller,
    count(DISTINCT request) AS event_count,
    count(DISTINCT method) AS methods,
    min(event_time) AS first_seen,
    max(event_time) AS last_seen
FROM requests
WHERE caller IS NOT NULL
    AND (
        http_status_code = 403
        OR error IN (
            'permissiondenied', '7', 'accessdenied', 'accessdeniedexception', 'unauthorizedoperation',
            'client.unauthorizedoperation', 'authorizationfailed', 'forbidden', 'notauthorized'
        )
    )
GROUP BY caller
HAVING count(DISTINCT request) >= $min_denied AND count(DISTINCT method) >= $min_methods;

-- /// test
-- name = "ten denials over three methods, calls and management together"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [
--   { event_time = "-25m", caller = "bot", operation_raw = "GenerateContent", outcome = "failure", error_type = "PERMISSION_DENIED", request_id = "a{i}", repeat = 4, every = "1m" },
--   { event_time = "-20m", caller = "bot", operation_raw = "StreamGenerateContent", outcome = "failure", error_type = "PERMISSION_DENIED", request_id = "b{i}", repeat = 3, every = "1m" },
-- ]
-- given.audit = [
--   { event_time = "-10m", caller = "bot", action = "ListEndpoints", outcome = "failure", http_status_code = 403, request_id = "c{i}", repeat = 3, every = "1m" },
-- ]
-- expect = [{ caller = "bot", event_count = 10, methods = 3, first_seen = "-25m", last_seen = "-8m" }]
-- ///

-- /// test
-- name = "nine denials, or two methods, are not enough"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [
--   { event_time = "-25m", caller = "nine", operation_raw = "Method{i}", outcome = "failure", error_type = "AccessDeniedException", repeat = 9, every = "1m" },
--   { event_time = "-25m", caller = "two", operation_raw = "InvokeModel", outcome = "failure", error_type = "AccessDeniedException", repeat = 20, every = "1s" },
--   { event_time = "-15m", caller = "two", operation_raw = "Converse", outcome = "failure", error_type = "AccessDeniedException", repeat = 20, every = "1s" },
-- ]
-- expect = []
-- expect_state = "clear"
-- ///

-- /// test
-- name = "throttled and invalid requests look alike and do not count"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [
--   { event_time = "-25m", caller = "busy", operation_raw = "Method{i}", outcome = "failure", error_type = "ThrottlingException", http_status_code = 429, repeat = 30, every = "10s" },
--   { event_time = "-25m", caller = "busy", operation_raw = "Method{i}", outcome = "failure", error_type = "INVALID_ARGUMENT", http_status_code = 400, repeat = 30, every = "10s" },
-- ]
-- expect = []
-- ///

-- /// test
-- name = "two logs of the same requests are not twice as many"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [
--   { event_time = "-25m", caller = "a", operation_raw = "Method{i}", outcome = "failure", error_type = "AccessDenied", request_id = "r{i}", repeat = 6, every = "1m" },
--   { event_time = "-25m", caller = "a", operation_raw = "Method{i}", outcome = "failure", error_type = "AccessDenied", request_id = "r{i}", record_role = "supplement", repeat = 6, every = "1m" },
-- ]
-- expect = []
-- ///
