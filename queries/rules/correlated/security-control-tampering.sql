-- /// rule
-- id          = "security-control-tampering"
-- title       = "Security controls were tampered with, and not only one or not for nothing"
-- version     = 1
-- kind        = "correlation"
-- status      = "stable"
-- severity    = "critical"
-- confidence  = "high"
-- signals     = [
--   { rule = "identity-guard-off",             as = "tampering" },
--   { rule = "guardrail-weakened",             as = "tampering" },
--   { rule = "invocation-logging-off",         as = "tampering" },
--   { rule = "azure-rai-or-deployment-change", as = "tampering" },
--   { rule = "ai-resource-policy",             as = "tampering" },
--   { rule = "prompt-injection-hourly",        as = "use" },
--   { rule = "no-guardrail-invocations",       as = "use" },
--   { rule = "token-burn",                     as = "use" },
--   { rule = "history-erasure",                as = "use" },
-- ]
-- within      = "120m"
-- by          = ["cloud_account_id"]
-- on          = { "identity-guard-off" = "account", "prompt-injection-hourly" = "cloud_account_id", "no-guardrail-invocations" = "cloud_account_id", "token-burn" = "cloud_account_id", "history-erasure" = "cloud_account_id" }
-- atlas       = ["AML.T0107"]
-- owasp       = ["ASI10:2026", "ASI03:2026"]
-- description = """
-- In one account an identity guard, a guardrail, the invocation log, a content policy or a resource policy was taken away or
-- weakened, and within two hours after it either came what it would have stopped or shown (injection, calls without a
-- guardrail, a burst of tokens, erased histories), or a control of another kind was tampered with as well. It need not be
-- the same caller: who opens a door is often not who walks through."""
-- false_positives = ["A planned migration that changes several controls within two hours", "A deployment pipeline that is not on the lists of the single rules"]
-- evasion     = ["Waiting for more than two hours", "Tampering in one account and use in another", "Logs without an account"]
-- runbook     = "Set the controls back first; then find who changed them (the findings name caller and resource) and what ran meanwhile"
-- ///
-- One row for each signal, with what came together with it up to its time.
WITH recent AS (
    SELECT
        cloud_account_id,
        event_time,
        signal,
        rule_id,
        finding_id,
        max(CASE WHEN signal = 'tampering' THEN 1 ELSE 0 END) OVER before AS has_tampering,
        min(CASE WHEN signal = 'tampering' THEN rule_id END) OVER before AS first_rule,
        max(CASE WHEN signal = 'tampering' THEN rule_id END) OVER before AS last_rule
    FROM signals
    WHERE event_time >= $window_start AND event_time < $window_end
    WINDOW before AS (
        PARTITION BY cloud_account_id ORDER BY event_time
        RANGE BETWEEN INTERVAL '7199.999999 seconds' PRECEDING AND CURRENT ROW
    )
),

matched AS (
    SELECT
        cloud_account_id,
        event_time,
        signal,
        rule_id,
        finding_id,
        CASE
            WHEN event_time < $window_end - INTERVAL '1 minute' THEN NULL
            -- Something was used that the tampering made possible.
            WHEN signal = 'use' AND has_tampering = 1 THEN event_time
            -- Controls of two kinds were tampered with.
            WHEN signal = 'tampering' AND first_rule <> last_rule THEN event_time
        END AS match_time
    FROM recent
),

spanned AS (
    SELECT
        cloud_account_id,
        event_time,
        signal,
        rule_id,
        finding_id,
        min(match_time) OVER (PARTITION BY cloud_account_id) AS first_match,
        max(match_time) OVER (PARTITION BY cloud_account_id) AS last_match
    FROM matched
)

SELECT
    cloud_account_id,
    count(DISTINCT finding_id) AS event_count,
    min(event_time) AS first_seen,
    max(event_time) AS last_seen,
    array_agg(DISTINCT signal ORDER BY signal) AS signals,
    array_agg(DISTINCT rule_id ORDER BY rule_id) AS rules,
    array_agg(DISTINCT finding_id ORDER BY finding_id) AS findings
FROM spanned
WHERE event_time > first_match - INTERVAL '2 hours' AND event_time <= last_match
GROUP BY cloud_account_id;

-- /// test
-- name = "a log is switched off, then tokens burn"
-- at   = 2026-01-04T00:00:00Z
-- given.signals = [
--   { event_time = "-119m", rule_id = "invocation-logging-off", cloud_account_id = "1" },
--   { event_time = "-30s", rule_id = "token-burn", cloud_account_id = "1" },
-- ]
-- expect = [{ cloud_account_id = "1", event_count = 2, signals = ["tampering", "use"] }]
-- ///

-- /// test
-- name = "two kinds of controls"
-- at   = 2026-01-04T00:00:00Z
-- given.signals = [
--   { event_time = "-90m", rule_id = "identity-guard-off", cloud_account_id = "1" },
--   { event_time = "-30s", rule_id = "guardrail-weakened", cloud_account_id = "1" },
-- ]
-- expect = [{ cloud_account_id = "1", event_count = 2 }]
-- ///

-- /// test
-- name = "two hours after is too late"
-- at   = 2026-01-04T00:00:00Z
-- given.signals = [
--   { event_time = "-7230s", rule_id = "invocation-logging-off", cloud_account_id = "1" },
--   { event_time = "-30s", rule_id = "token-burn", cloud_account_id = "1" },
-- ]
-- expect = []
-- ///

-- /// test
-- name = "use before the tampering was not made possible by it"
-- at   = 2026-01-04T00:00:00Z
-- given.signals = [
--   { event_time = "-60m", rule_id = "token-burn", cloud_account_id = "1" },
--   { event_time = "-30s", rule_id = "invocation-logging-off", cloud_account_id = "1" },
-- ]
-- expect = []
-- ///

-- /// test
-- name = "one control, changed twice: a correction"
-- at   = 2026-01-04T00:00:00Z
-- given.signals = [
--   { event_time = "-60m", rule_id = "guardrail-weakened", cloud_account_id = "1" },
--   { event_time = "-30s", rule_id = "guardrail-weakened", cloud_account_id = "1" },
-- ]
-- expect = []
-- ///

-- /// test
-- name = "another account"
-- at   = 2026-01-04T00:00:00Z
-- given.signals = [
--   { event_time = "-60m", rule_id = "invocation-logging-off", cloud_account_id = "1" },
--   { event_time = "-30s", rule_id = "token-burn", cloud_account_id = "2" },
-- ]
-- expect = []
-- ///
