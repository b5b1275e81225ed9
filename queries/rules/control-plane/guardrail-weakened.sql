-- /// rule
-- id          = "guardrail-weakened"
-- title       = "Guardrail or content filter was deleted or changed"
-- version     = 1
-- status      = "stable"
-- severity    = "high"
-- confidence  = "medium"
-- source      = ["audit"]
-- requires    = ["action"]
-- window      = "15m"
-- every       = "1m"
-- entity      = ["cloud_account_id", "resource_id", "caller"]
-- atlas       = ["AML.T0107"]
-- owasp       = ["LLM01:2025"]
-- description = """
-- A guardrail, content-filter policy or its enforcement was deleted, or updated to let more through. Azure logs the new
-- policy, so a filter that is switched off, no longer blocks, or only blocks at high severity is seen as such. AWS hides
-- what a guardrail was changed to: an update that cannot be read is reported with severity medium, a deletion or a
-- change that is seen to weaken with high."""
-- false_positives = ["Planned tuning of a policy", "Test guardrails that come and go: list their owners in maintainers"]
-- evasion     = ["Adding an exception to the application instead", "Calling a route without a guardrail: see no-guardrail-invocations"]
-- runbook     = "Restore the previous version of the policy first, then ask the caller; look for what was called in the meantime"
--
-- [params]
-- maintainers = { default = [], doc = "callers whose changes are expected" }
-- ///
WITH changes AS (
    SELECT
        event_time,
        event_id,
        correlation_id,
        cloud_account_id,
        resource_id,
        caller,
        action,
        action_class = 'guardrail.delete' AS is_deletion,
        replace(lower(coalesce(request_params, '')), ' ', '') AS change
    FROM audit
    WHERE event_time >= $window_start AND event_time < $window_end
        AND action_class IN ('guardrail.update', 'guardrail.delete')
        AND outcome <> 'failure'
        AND NOT coalesce(array_has($maintainers, caller), FALSE)
),

judged AS (
    SELECT
        *,
        change LIKE '%"enabled":false%'
            OR change LIKE '%"blocking":false%'
            OR change LIKE '%"severitythreshold":"high"%'
            OR change LIKE '%asynchronous_filter%'
            OR change LIKE '%strength":"none"%'
            OR change LIKE '%strength":"low"%' AS is_weaker
    FROM changes
)

SELECT
    cloud_account_id,
    resource_id,
    caller,
    count(DISTINCT coalesce(correlation_id, event_id)) AS event_count,
    bool_or(is_deletion) AS was_deleted,
    bool_or(is_weaker) AS was_weakened,
    CASE WHEN bool_or(is_deletion OR is_weaker) THEN 'high' ELSE 'medium' END AS severity,
    CASE
        WHEN bool_or(is_deletion) THEN 'Guardrail or content filter was deleted'
        WHEN bool_or(is_weaker) THEN 'Guardrail or content filter was weakened'
        ELSE 'Guardrail was changed, the log does not say how'
    END AS title,
    min(event_time) AS first_seen,
    max(event_time) AS last_seen
FROM judged
GROUP BY cloud_account_id, resource_id, caller;

-- /// test
-- name = "a deleted guardrail is high, an unreadable change medium"
-- at   = 2026-01-01T01:00:00Z
-- given.audit = [
--   { event_time = "-5m", cloud_account_id = "1", resource_id = "gr-1", caller = "dana", action = "DeleteGuardrail", action_class = "guardrail.delete", outcome = "success" },
--   { event_time = "-5m", cloud_account_id = "1", resource_id = "gr-2", caller = "dana", action = "UpdateGuardrail", action_class = "guardrail.update", outcome = "success", request_params = '{"name":"HIDDEN_DUE_TO_SECURITY_REASONS"}' },
-- ]
-- expect = [
--   { resource_id = "gr-1", severity = "high", was_deleted = true, title = "Guardrail or content filter was deleted" },
--   { resource_id = "gr-2", severity = "medium", was_deleted = false, was_weakened = false },
-- ]
-- ///

-- /// test
-- name = "a filter that no longer blocks was weakened; start and end of one operation are one change"
-- at   = 2026-01-01T01:00:00Z
-- given.audit = [
--   { event_time = "-5m", cloud_provider = "azure", cloud_account_id = "s", resource_id = "raipolicies/strict", caller = "dana", action = "RAIPOLICIES/WRITE", action_class = "guardrail.update", outcome = "unknown", correlation_id = "c", request_params = '{"contentFilters":[{"name":"hate","blocking": false}]}' },
--   { event_time = "-4m", cloud_provider = "azure", cloud_account_id = "s", resource_id = "raipolicies/strict", caller = "dana", action = "RAIPOLICIES/WRITE", action_class = "guardrail.update", outcome = "success", correlation_id = "c" },
-- ]
-- expect = [{ event_count = 1, severity = "high", was_weakened = true, first_seen = "-5m", last_seen = "-4m" }]
-- ///

-- /// test
-- name = "the window ends before the change, and starts after it"
-- at   = 2026-01-01T01:00:00Z
-- given.audit = [
--   { event_time = "+0m", resource_id = "gr", caller = "dana", action = "DeleteGuardrail", action_class = "guardrail.delete", outcome = "success" },
--   { event_time = "-16m", resource_id = "gr", caller = "dana", action = "DeleteGuardrail", action_class = "guardrail.delete", outcome = "success" },
-- ]
-- expect = []
-- ///

-- /// test
-- name = "new guardrails, refused attempts and the maintainer are no weakening"
-- at   = 2026-01-01T01:00:00Z
-- params = { maintainers = ["guardrail-pipeline"] }
-- given.audit = [
--   { event_time = "-5m", resource_id = "gr", caller = "dana", action = "CreateGuardrail", action_class = "guardrail.create", outcome = "success" },
--   { event_time = "-5m", resource_id = "gr", caller = "mallory", action = "DeleteGuardrail", action_class = "guardrail.delete", outcome = "failure" },
--   { event_time = "-5m", resource_id = "gr", caller = "guardrail-pipeline", action = "UpdateGuardrail", action_class = "guardrail.update", outcome = "success" },
-- ]
-- expect = []
-- expect_state = "clear"
-- ///
