-- /// rule
-- id          = "no-guardrail-invocations"
-- title       = "Model was called without the guardrail that it must have"
-- version     = 2
-- status      = "stable"
-- severity    = "medium"
-- confidence  = "medium"
-- source      = ["calls_merged"]
-- requires    = ["caller", "model", "operation"]
-- window      = "1h"
-- every       = "5m"
-- entity      = ["caller", "model"]
-- atlas       = ["AML.T0015"]
-- owasp       = ["LLM01:2025"]
-- description = """
-- Counts answered calls for text in which no guardrail ran. A guardrail is required of the accounts, models and callers
-- that are listed; and whoever calls a model with a guardrail and, within the same hour, without it as well, has left it
-- out. Logs that do not tell whether a filter ran are passed over: Bedrock records without a body, Azure's request log
-- on its own, Vertex."""
-- false_positives = ["An application that guards its answers to people and not its own inner steps: give these a role of their own"]
-- evasion     = ["A caller that never used a guardrail and is not listed", "Five calls an hour", "Logs without bodies"]
-- runbook     = "Make the guardrail a condition of the permission (on AWS bedrock:GuardrailIdentifier), then ask the owner; look at what the unguarded calls were used for"
--
-- [params]
-- max_unguarded = { default = 5, min = 0, doc = "unguarded calls that are tolerated in an hour" }
-- min_guarded = { default = 5, min = 1, doc = "guarded calls of the same hour from which a caller is known to use a guardrail" }
-- required_accounts = { default = [], doc = "accounts, subscriptions or projects that must use a guardrail" }
-- required_models = { default = [], doc = "models that must be called with a guardrail" }
-- required_callers = { default = [], doc = "callers that must use a guardrail" }
--
-- [exempt]
-- rename = "the models that must be guarded are listed by a parameter"
-- ///
WITH answered AS (
    SELECT
        caller,
        model,
        cloud_account_id,
        event_time,
        guardrail_action IS NOT NULL OR coalesce(array_length(guardrail_ids), 0) > 0 AS is_guarded,
        coalesce(array_has($required_accounts, cloud_account_id), FALSE)
            OR coalesce(array_has($required_models, model), FALSE)
            OR coalesce(array_has($required_callers, caller), FALSE) AS is_required,
        source_format IN ('azure.openai.request_response', 'gcp.vertex.audit', 'gcp.vertex.request_response')
            OR (
                source_format = 'aws.bedrock.invocation'
                AND coalesce(content_state, 'inline') IN ('absent', 'external', 'truncated')
            ) AS is_silent
    FROM calls_merged
    WHERE event_time >= $window_start AND event_time < $window_end
        AND caller IS NOT NULL
        AND outcome IN ('success', 'blocked')
        AND operation IN ('chat', 'text_completion', 'generate_content')
)

SELECT
    caller,
    model,
    count(*) FILTER (WHERE NOT is_guarded) AS event_count,
    count(*) FILTER (WHERE is_guarded) AS guarded,
    bool_or(is_required) AS is_required,
    max(cloud_account_id) AS cloud_account_id,
    min(event_time) FILTER (WHERE NOT is_guarded) AS first_seen,
    max(event_time) FILTER (WHERE NOT is_guarded) AS last_seen
FROM answered
WHERE is_guarded OR NOT is_silent
GROUP BY caller, model
HAVING count(*) FILTER (WHERE NOT is_guarded) > $max_unguarded
    AND (bool_or(is_required) OR count(*) FILTER (WHERE is_guarded) >= $min_guarded);

-- /// test
-- name = "six calls of an account that must use a guardrail"
-- at   = 2026-01-01T01:00:00Z
-- params = { required_accounts = ["111122223333"] }
-- given.calls = [
--   { event_time = "-50m", caller = "a", model = "m", operation = "chat", cloud_account_id = "111122223333", source_format = "aws.bedrock.invocation", content_state = "inline", repeat = 6, every = "1m" },
-- ]
-- expect = [{ caller = "a", model = "m", event_count = 6, guarded = 0, is_required = true, first_seen = "-50m", last_seen = "-45m" }]
-- ///

-- /// test
-- name = "a caller that leaves out the guardrail it uses"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [
--   { event_time = "-50m", caller = "a", model = "m", operation = "chat", guardrail_ids = ["gr1"], guardrail_action = "none", repeat = 4, every = "1m" },
--   { event_time = "-40m", caller = "a", model = "m", operation = "chat", outcome = "blocked", guardrail_action = "blocked" },
--   { event_time = "-30m", caller = "a", model = "m", operation = "chat", repeat = 6, every = "1m" },
-- ]
-- expect = [{ caller = "a", event_count = 6, guarded = 5, is_required = false, first_seen = "-30m" }]
-- ///

-- /// test
-- name = "a model that must be guarded"
-- at   = 2026-01-01T01:00:00Z
-- params = { required_models = ["m"] }
-- given.calls = [
--   { event_time = "-50m", caller = "a", model = "m", operation = "generate_content", source_format = "litellm.payload", content_state = "absent", repeat = 6, every = "1m" },
--   { event_time = "-50m", model = "m", operation = "chat", repeat = 40, every = "1m" },
-- ]
-- expect = [{ caller = "a", model = "m", event_count = 6, is_required = true }]
-- ///

-- /// test
-- name = "five unguarded calls, or four guarded ones beside them, are under the lines"
-- at   = 2026-01-01T01:00:00Z
-- params = { required_models = ["required"] }
-- given.calls = [
--   { event_time = "-50m", caller = "five", model = "required", operation = "chat", repeat = 5, every = "1m" },
--   { event_time = "-50m", caller = "four", model = "m", operation = "chat", guardrail_action = "none", repeat = 4, every = "1m" },
--   { event_time = "-50m", caller = "four", model = "m", operation = "chat", repeat = 40, every = "1m" },
-- ]
-- expect = []
-- expect_state = "clear"
-- ///

-- /// test
-- name = "embeddings, failures, another model, and logs that cannot tell look alike"
-- at   = 2026-01-01T01:00:00Z
-- params = { required_callers = ["a", "b", "c"] }
-- given.calls = [
--   { event_time = "-50m", caller = "a", model = "m", operation = "embeddings", repeat = 40, every = "1m" },
--   { event_time = "-50m", caller = "a", model = "m", operation = "chat", outcome = "failure", repeat = 40, every = "1m" },
--   { event_time = "-50m", caller = "b", model = "m", operation = "chat", source_format = "aws.bedrock.invocation", content_state = "absent", repeat = 40, every = "1m" },
--   { event_time = "-50m", caller = "c", model = "m", operation = "chat", source_format = "azure.openai.request_response", repeat = 40, every = "1m" },
--   { event_time = "-50m", caller = "d", model = "guarded", operation = "chat", guardrail_action = "none", repeat = 40, every = "1m" },
--   { event_time = "-50m", caller = "d", model = "inner-step", operation = "chat", repeat = 40, every = "1m" },
-- ]
-- expect = []
-- ///
