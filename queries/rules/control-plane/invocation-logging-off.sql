-- /// rule
-- id          = "invocation-logging-off"
-- title       = "Logging of model calls was switched off or changed"
-- version     = 1
-- status      = "stable"
-- severity    = "critical"
-- confidence  = "high"
-- source      = ["audit"]
-- requires    = ["action"]
-- window      = "15m"
-- every       = "1m"
-- entity      = ["cloud_account_id", "cloud_region", "caller"]
-- atlas       = ["AML.T0107"]
-- owasp       = ["ASI10:2026"]
-- description = """
-- Bedrock's invocation logging, an Azure diagnostic setting, a Vertex publisher configuration or a log sink was deleted
-- or disabled: critical, as every other rule is blind from then on. A change that may narrow or redirect the log is
-- high."""
-- false_positives = ["Infrastructure code that replaces a setting by deleting and creating it: list its identity in maintainers"]
-- evasion     = ["Removing the permission to write to the log bucket", "Stopping the shipper: see log-silence"]
-- runbook     = "Switch logging on again at once; treat every call of the account until then as unseen; revoke the caller"
--
-- [params]
-- maintainers = { default = [], doc = "callers whose changes are expected" }
-- ///
SELECT
    cloud_account_id,
    cloud_region,
    caller,
    count(DISTINCT coalesce(correlation_id, event_id)) AS event_count,
    min(action) AS action,
    max(resource_id) AS resource_id,
    CASE WHEN bool_or(action_class = 'logging.disable') THEN 'critical' ELSE 'high' END AS severity,
    CASE
        WHEN bool_or(action_class = 'logging.disable') THEN 'Logging of model calls was switched off'
        ELSE 'Logging of model calls was changed'
    END AS title,
    min(event_time) AS first_seen,
    max(event_time) AS last_seen
FROM audit
WHERE event_time >= $window_start AND event_time < $window_end
    AND action_class IN ('logging.disable', 'logging.change')
    AND outcome <> 'failure'
    AND NOT coalesce(array_has($maintainers, caller), FALSE)
GROUP BY cloud_account_id, cloud_region, caller;

-- /// test
-- name = "deleted logging is critical, changed logging high"
-- at   = 2026-01-01T01:00:00Z
-- given.audit = [
--   { event_time = "-5m", cloud_account_id = "1", cloud_region = "us-east-1", caller = "dana", action = "DeleteModelInvocationLoggingConfiguration", action_class = "logging.disable", outcome = "success" },
--   { event_time = "-5m", cloud_account_id = "2", cloud_region = "us-east-1", caller = "dana", action = "PutModelInvocationLoggingConfiguration", action_class = "logging.change", outcome = "success" },
-- ]
-- expect = [
--   { cloud_account_id = "1", severity = "critical", event_count = 1 },
--   { cloud_account_id = "2", severity = "high", title = "Logging of model calls was changed" },
-- ]
-- ///

-- /// test
-- name = "a refused attempt, the maintainer, and a change outside the window do not fire"
-- at   = 2026-01-01T01:00:00Z
-- params = { maintainers = ["terraform"] }
-- given.audit = [
--   { event_time = "-5m", caller = "mallory", action = "DeleteModelInvocationLoggingConfiguration", action_class = "logging.disable", outcome = "failure" },
--   { event_time = "-5m", caller = "terraform", action = "PutModelInvocationLoggingConfiguration", action_class = "logging.change", outcome = "success" },
--   { event_time = "-16m", caller = "dana", action = "DeleteModelInvocationLoggingConfiguration", action_class = "logging.disable", outcome = "success" },
-- ]
-- expect = []
-- expect_state = "clear"
-- ///

-- /// test
-- name = "reading the logging configuration looks alike"
-- at   = 2026-01-01T01:00:00Z
-- given.audit = [
--   { event_time = "-5m", caller = "dana", action = "GetModelInvocationLoggingConfiguration", action_class = "other", outcome = "success", read_only = true },
-- ]
-- expect = []
-- ///
