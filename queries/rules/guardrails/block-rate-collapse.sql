-- /// rule
-- id          = "block-rate-collapse"
-- title       = "A guardrail that used to block has all but stopped"
-- version     = 1
-- status      = "stable"
-- severity    = "high"
-- confidence  = "medium"
-- source      = ["calls"]
-- requires    = ["model", "outcome"]
-- window      = "1h"
-- every       = "15m"
-- baseline    = "7d"
-- min_history = 50
-- entity      = ["cloud_account_id", "deployment"]
-- atlas       = ["AML.T0107"]
-- owasp       = ["LLM01:2025"]
-- description = """
-- Some share of requests is always blocked. When it falls to a tenth while the traffic goes on, the guardrail was
-- weakened, unhooked or bypassed, also where nobody saw the change. The usual share is the median of the hours of the
-- last seven days, so that one attack in that week does not raise it. An hour is judged only if, at the usual share, it
-- should have had fifteen blocks: with a tenth of that, chance is out of the question (less than one in 200,000). More
-- traffic than usual is expected to bring no more blocks than usual, so that a load test is no collapse. Several logs of
-- one call count once: the kind of log with more records of the hour counts."""
-- false_positives = ["A policy that was corrected because it blocked ordinary work", "An attacker of the last week who left"]
-- evasion     = ["Weakening a guardrail step by step over days", "Deployments with few blocks"]
-- runbook     = "Send a request that must be blocked; compare the guardrail's version and settings with those of last week, see guardrail-weakened; look at what was answered since"
--
-- [params]
-- max_ratio = { default = 0.1, min = 0.0, max = 1.0, doc = "blocks over expected blocks below which the guardrail has stopped" }
-- min_expected = { default = 15.0, min = 1.0, doc = "blocks that the hour should have had" }
-- min_traffic = { default = 0.5, min = 0.0, max = 1.0, doc = "calls over the usual calls of an hour from which the traffic goes on" }
-- min_hour_calls = { default = 20, min = 1, doc = "calls of an hour of history that counts" }
--
-- [exempt]
-- half_step = "history is counted by hours of the clock: half a step later an hour at the line has fewer calls than it takes"
-- ///
WITH hours AS (
    SELECT
        coalesce(cloud_account_id, '') AS account,
        coalesce(model_deployment, model) AS deployment,
        date_bin(INTERVAL '1 hour', event_time) AS hour,
        greatest(
            count(*) FILTER (WHERE record_role = 'primary'),
            count(*) FILTER (WHERE record_role <> 'primary')
        ) AS calls,
        greatest(
            count(*) FILTER (WHERE record_role = 'primary' AND outcome = 'blocked'),
            count(*) FILTER (WHERE record_role <> 'primary' AND outcome = 'blocked')
        ) AS blocked
    FROM calls
    WHERE event_time >= $baseline_start AND event_time < $window_start
        AND coalesce(model_deployment, model) IS NOT NULL
    GROUP BY coalesce(cloud_account_id, ''), coalesce(model_deployment, model), date_bin(INTERVAL '1 hour', event_time)
    HAVING count(*) >= $min_hour_calls
),

usual AS (
    SELECT
        account,
        deployment,
        count(*) AS history_count,
        median(calls * 1.0) AS usual_calls,
        median(blocked * 1.0 / calls) AS usual_rate
    FROM hours
    GROUP BY account, deployment
),

recent AS (
    SELECT
        coalesce(cloud_account_id, '') AS account,
        coalesce(model_deployment, model) AS deployment,
        greatest(
            count(*) FILTER (WHERE record_role = 'primary'),
            count(*) FILTER (WHERE record_role <> 'primary')
        ) AS event_count,
        greatest(
            count(*) FILTER (WHERE record_role = 'primary' AND outcome = 'blocked'),
            count(*) FILTER (WHERE record_role <> 'primary' AND outcome = 'blocked')
        ) AS blocked,
        min(event_time) AS first_seen,
        max(event_time) AS last_seen
    FROM calls
    WHERE event_time >= $window_start AND event_time < $window_end
        AND coalesce(model_deployment, model) IS NOT NULL
    GROUP BY coalesce(cloud_account_id, ''), coalesce(model_deployment, model)
    HAVING count(*) >= $min_hour_calls
),

judged AS (
    SELECT
        nullif(recent.account, '') AS cloud_account_id,
        recent.deployment,
        recent.event_count,
        recent.blocked,
        coalesce(usual.usual_rate, 0.0) AS usual_rate,
        coalesce(usual.usual_calls, 0.0) AS usual_calls,
        coalesce(usual.usual_rate * least(recent.event_count * 1.0, usual.usual_calls), 0.0) AS expected,
        coalesce(usual.history_count, 0) AS history_count,
        recent.first_seen,
        recent.last_seen
    FROM recent
    LEFT JOIN usual ON usual.account = recent.account AND usual.deployment = recent.deployment
)

-- With too little history a row is returned as it is, and counted as learning.
SELECT
    cloud_account_id,
    deployment,
    event_count,
    blocked,
    expected,
    usual_rate,
    usual_calls,
    history_count,
    first_seen,
    last_seen
FROM judged
WHERE history_count < $min_history
    OR (
        expected >= $min_expected
        AND event_count >= $min_traffic * usual_calls
        AND blocked < $max_ratio * expected
    );

-- /// test
-- name = "one in ten was blocked for sixty hours, and then one in two hundred"
-- at   = 2026-01-08T00:00:00Z
-- given.calls = [
--   { event_time = "-61h", model_deployment = "prod", model = "m", outcome = "blocked", repeat = 1200, every = "3m" },
--   { event_time = "-61h", model_deployment = "prod", model = "m", outcome = "success", repeat = 10800, every = "20s" },
--   { event_time = "-60m", model_deployment = "prod", model = "m", outcome = "success", repeat = 199, every = "15s" },
--   { event_time = "-30m", model_deployment = "prod", model = "m", outcome = "blocked" },
-- ]
-- expect = [{ deployment = "prod", event_count = 200, blocked = 1, expected = 20.0, usual_rate = 0.1, usual_calls = 200.0, history_count = 60 }]
-- ///

-- /// test
-- name = "exactly a tenth of the expected blocks is on the line"
-- at   = 2026-01-08T00:00:00Z
-- given.calls = [
--   { event_time = "-61h", model_deployment = "prod", model = "m", outcome = "blocked", repeat = 1200, every = "3m" },
--   { event_time = "-61h", model_deployment = "prod", model = "m", outcome = "success", repeat = 10800, every = "20s" },
--   { event_time = "-60m", model_deployment = "prod", model = "m", outcome = "success", repeat = 198, every = "15s" },
--   { event_time = "-30m", model_deployment = "prod", model = "m", outcome = "blocked", repeat = 2, every = "1m" },
-- ]
-- expect = []
-- expect_state = "clear"
-- ///

-- /// test
-- name = "a quiet hour, a load test over the usual blocks, and a deployment that hardly ever blocks look alike"
-- at   = 2026-01-08T00:00:00Z
-- given.calls = [
--   { event_time = "-61h", model_deployment = "night", model = "m", outcome = "blocked", repeat = 1200, every = "3m" },
--   { event_time = "-61h", model_deployment = "night", model = "m", outcome = "success", repeat = 10800, every = "20s" },
--   { event_time = "-60m", model_deployment = "night", model = "m", outcome = "success", repeat = 99, every = "30s" },
--   { event_time = "-61h", model_deployment = "load", model = "m", outcome = "blocked", repeat = 1200, every = "3m" },
--   { event_time = "-61h", model_deployment = "load", model = "m", outcome = "success", repeat = 10800, every = "20s" },
--   { event_time = "-60m", model_deployment = "load", model = "m", outcome = "success", repeat = 3500, every = "1s" },
--   { event_time = "-60m", model_deployment = "load", model = "m", outcome = "blocked", repeat = 18, every = "3m" },
--   { event_time = "-61h", model_deployment = "calm", model = "m", outcome = "success", repeat = 10800, every = "20s" },
--   { event_time = "-60m", model_deployment = "calm", model = "m", outcome = "success", repeat = 180, every = "20s" },
-- ]
-- expect = []
-- expect_state = "clear"
-- ///

-- /// test
-- name = "with less than fifty hours of history the deployment is being learnt"
-- at   = 2026-01-08T00:00:00Z
-- given.calls = [
--   { event_time = "-41h", model_deployment = "new", model = "m", outcome = "blocked", repeat = 800, every = "3m" },
--   { event_time = "-41h", model_deployment = "new", model = "m", outcome = "success", repeat = 7200, every = "20s" },
--   { event_time = "-60m", model_deployment = "new", model = "m", outcome = "success", repeat = 200, every = "15s" },
-- ]
-- expect = []
-- expect_state = "learning"
-- ///

-- /// test
-- name = "fifteen expected blocks and half the usual calls are enough; a little less of either is not"
-- at   = 2026-01-08T00:00:00Z
-- given.calls = [
--   { event_time = "-61h", model_deployment = "busy", model = "m", outcome = "blocked", repeat = 1800, every = "2m" },
--   { event_time = "-61h", model_deployment = "busy", model = "m", outcome = "success", repeat = 5400, every = "40s" },
--   { event_time = "-60m", model_deployment = "busy", model = "m", outcome = "success", repeat = 60, every = "1m" },
--   { event_time = "-61h", model_deployment = "short", model = "m", outcome = "blocked", repeat = 1800, every = "2m" },
--   { event_time = "-61h", model_deployment = "short", model = "m", outcome = "success", repeat = 5400, every = "40s" },
--   { event_time = "-60m", model_deployment = "short", model = "m", outcome = "success", repeat = 59, every = "1m" },
--   { event_time = "-61h", model_deployment = "almost", model = "m", outcome = "blocked", repeat = 1200, every = "3m" },
--   { event_time = "-61h", model_deployment = "almost", model = "m", outcome = "success", repeat = 4800, every = "45s" },
--   { event_time = "-60m", model_deployment = "almost", model = "m", outcome = "success", repeat = 74, every = "45s" },
--   { event_time = "-61h", model_deployment = "half", model = "m", outcome = "blocked", repeat = 3600, every = "1m" },
--   { event_time = "-61h", model_deployment = "half", model = "m", outcome = "success", repeat = 3600, every = "1m" },
--   { event_time = "-60m", model_deployment = "half", model = "m", outcome = "success", repeat = 60, every = "1m" },
--   { event_time = "-61h", model_deployment = "less", model = "m", outcome = "blocked", repeat = 3600, every = "1m" },
--   { event_time = "-61h", model_deployment = "less", model = "m", outcome = "success", repeat = 3600, every = "1m" },
--   { event_time = "-60m", model_deployment = "less", model = "m", outcome = "success", repeat = 59, every = "1m" },
-- ]
-- expect = [
--   { deployment = "busy", event_count = 60, blocked = 0, expected = 15.0, usual_rate = 0.25, usual_calls = 120.0 },
--   { deployment = "half", event_count = 60, blocked = 0, expected = 30.0, usual_rate = 0.5, usual_calls = 120.0 },
-- ]
-- ///

-- /// test
-- name = "an hour of history counts from twenty calls; a call in two logs counts once"
-- at   = 2026-01-08T00:00:00Z
-- params = { min_expected = "1" }
-- given.calls = [
--   { event_time = "-61h", model_deployment = "twenty", model = "m", outcome = "blocked", repeat = 600, every = "6m" },
--   { event_time = "-61h", model_deployment = "twenty", model = "m", outcome = "success", repeat = 600, every = "6m" },
--   { event_time = "-61h", model_deployment = "twenty", model = "m", record_role = "supplement", outcome = "success", repeat = 600, every = "6m" },
--   { event_time = "-60m", model_deployment = "twenty", model = "m", outcome = "success", repeat = 20, every = "1m" },
--   { event_time = "-61h", model_deployment = "nineteen", model = "m", outcome = "blocked", repeat = 1080, every = "200s" },
--   { event_time = "-61h", model_deployment = "nineteen", model = "m", outcome = "blocked", repeat = 60, every = "1h" },
--   { event_time = "-60m", model_deployment = "nineteen", model = "m", outcome = "success", repeat = 20, every = "1m" },
-- ]
-- expect = [{ deployment = "twenty", event_count = 20, expected = 10.0, usual_rate = 0.5, usual_calls = 20.0, history_count = 60 }]
-- ///
