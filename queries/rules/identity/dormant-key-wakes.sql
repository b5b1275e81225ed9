-- /// rule
-- id          = "dormant-key-wakes"
-- title       = "Key that slept for a month is used again"
-- version     = 2
-- status      = "stable"
-- severity    = "medium"
-- confidence  = "medium"
-- source      = ["calls_merged", "calls"]
-- requires    = ["caller"]
-- window      = "24h"
-- every       = "1h"
-- baseline    = "90d"
-- entity      = ["credential"]
-- atlas       = ["AML.T0012"]
-- owasp       = ["ASI03:2026"]
-- description = """
-- A key that was last used thirty days ago or more made ten calls in a day. Nobody misses a forgotten key, so whoever
-- finds it has time. A key that was never seen before is new and not dormant; temporary keys are taken by their
-- principal. Refused calls count as use: trying a key is what it looks like. Several logs of a call count once."""
-- false_positives = ["Yearly reports, a service back from its summer break", "Logs that were missing for a month"]
-- evasion     = ["Nine calls a day", "Keys that slept longer than the history that is kept"]
-- runbook     = "Ask the owner of the key; where nobody needs it, revoke it rather than rotate it; compare address and client with those of its last use"
--
-- [params]
-- min_silence = { default = "30d", min = "1d", max = "89d", doc = "time without a call" }
-- min_calls = { default = 10, min = 1, doc = "calls of the key in a day" }
-- ///
WITH last_uses AS (
    SELECT
        coalesce(CASE WHEN credential_id NOT LIKE 'ASIA%' THEN credential_id END, caller) AS credential,
        max(event_time) AS last_used
    FROM calls
    WHERE event_time >= $baseline_start AND event_time < $window_start
        AND coalesce(credential_id, caller) IS NOT NULL
    GROUP BY 1
),

recent AS (
    SELECT
        coalesce(CASE WHEN credential_id NOT LIKE 'ASIA%' THEN credential_id END, caller) AS credential,
        max(caller) AS caller,
        count(*) AS event_count,
        count(*) FILTER (WHERE outcome = 'failure') AS failures,
        count(DISTINCT model) AS models,
        max(coalesce(source_ip, source_ip_prefix)) AS source_ip,
        max(user_agent) AS user_agent,
        min(event_time) AS first_seen,
        max(event_time) AS last_seen
    FROM calls_merged
    WHERE event_time >= $window_start AND event_time < $window_end
        AND coalesce(credential_id, caller) IS NOT NULL
    GROUP BY 1
    HAVING count(*) >= $min_calls
)

SELECT
    recent.credential,
    recent.caller,
    recent.event_count,
    recent.failures,
    recent.models,
    recent.source_ip,
    recent.user_agent,
    last_uses.last_used,
    recent.first_seen,
    recent.last_seen
FROM recent
JOIN last_uses ON last_uses.credential = recent.credential
WHERE last_uses.last_used <= recent.first_seen - $min_silence;

-- /// test
-- name = "ten calls after forty days, two of them refused"
-- at   = 2026-04-01T00:00:00Z
-- given.calls = [
--   { event_time = "-50d", caller = "old", credential_id = "key-1", repeat = 10, every = "1d" },
--   { event_time = "-2h", caller = "old", credential_id = "key-1", model = "opus", source_ip = "203.0.113.9", repeat = 8, every = "1m" },
--   { event_time = "-1h", caller = "old", credential_id = "key-1", model = "opus", outcome = "failure", repeat = 2, every = "1m" },
-- ]
-- expect = [{ credential = "key-1", event_count = 10, failures = 2, models = 1, source_ip = "203.0.113.9", last_used = "-41d", first_seen = "-2h", last_seen = "-59m" }]
-- ///

-- /// test
-- name = "silent for exactly thirty days fires, a minute less does not"
-- at   = 2026-04-01T00:00:00Z
-- given.calls = [
--   { event_time = "-43320m", caller = "exact" },
--   { event_time = "-2h", caller = "exact", repeat = 10, every = "1m" },
--   { event_time = "-43319m", caller = "less" },
--   { event_time = "-2h", caller = "less", repeat = 10, every = "1m" },
-- ]
-- expect = [{ credential = "exact" }]
-- ///

-- /// test
-- name = "nine calls, each in two logs, stay nine"
-- at   = 2026-04-01T00:00:00Z
-- given.calls = [
--   { event_time = "-50d", caller = "user/old", credential_id = "AKIAOLD" },
--   { event_time = "-2h", caller = "user/old", cloud_account_id = "1", source_format = "aws.bedrock.invocation", request_id = "r{i}", repeat = 9, every = "1m" },
--   { event_time = "-2h", caller = "user/old", credential_id = "AKIAOLD", cloud_account_id = "1", source_format = "aws.cloudtrail", record_role = "supplement", request_id = "r{i}", repeat = 9, every = "1m" },
-- ]
-- expect = []
-- expect_state = "clear"
-- ///

-- /// test
-- name = "a new key and a key that is used every week look alike; a role's new session key is the role"
-- at   = 2026-04-01T00:00:00Z
-- given.calls = [
--   { event_time = "-2h", caller = "new", repeat = 50, every = "1m" },
--   { event_time = "-80d", caller = "weekly", repeat = 12, every = "7d" },
--   { event_time = "-2h", caller = "weekly", repeat = 50, every = "1m" },
--   { event_time = "-80d", caller = "role", credential_id = "ASIAOLD" },
--   { event_time = "-5d", caller = "role", credential_id = "ASIALATER" },
--   { event_time = "-2h", caller = "role", credential_id = "ASIANEW", repeat = 50, every = "1m" },
-- ]
-- expect = []
-- ///

-- /// test
-- name = "a key whose calls are in one log and whose name is in another is found once"
-- at   = 2026-04-01T00:00:00Z
-- given.calls = [
--   { event_time = "-50d", caller = "user/old", cloud_account_id = "1", source_format = "aws.bedrock.invocation", request_id = "q" },
--   { event_time = "-50d", caller = "user/old", credential_id = "AKIAOLD", cloud_account_id = "1", source_format = "aws.cloudtrail", record_role = "supplement", request_id = "q" },
--   { event_time = "-2h", caller = "user/old", cloud_account_id = "1", source_format = "aws.bedrock.invocation", request_id = "r{i}", repeat = 10, every = "1m" },
--   { event_time = "-2h", caller = "user/old", credential_id = "AKIAOLD", cloud_account_id = "1", source_format = "aws.cloudtrail", record_role = "supplement", request_id = "r{i}", repeat = 10, every = "1m" },
-- ]
-- expect = [{ credential = "AKIAOLD", event_count = 10, last_used = "-50d" }]
-- ///
