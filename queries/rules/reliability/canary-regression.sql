-- /// rule
-- id          = "canary-regression"
-- title       = "Canary deployment is slower or fails more than the stable one"
-- version     = 1
-- status      = "stable"
-- severity    = "high"
-- confidence  = "high"
-- source      = ["calls"]
-- requires    = ["model_deployment"]
-- window      = "10m"
-- every       = "1m"
-- entity      = ["model", "model_deployment"]
-- atlas       = ["AML.T0029"]
-- description = """
-- Compares a canary with the other deployments of its model, minute by minute, so that what both suffer is nobody's
-- fault. It fires when the canary's 99th percentile of latency was over the limit, and over that of the others, in five
-- minutes in a row, or when its error rate was more than twice theirs in three minutes in a row. A deployment is a
-- canary when its name contains the marker."""
-- false_positives = ["A canary that gets the hard requests on purpose"]
-- evasion     = ["A regression that comes and goes within the minute", "Too little traffic on the canary to tell"]
-- runbook     = "Roll the canary back, then compare its answers with those of the stable deployment"
--
-- [params]
-- marker = { default = "canary", doc = "what the name of a canary deployment contains" }
-- max_p99_ms = { default = 500.0, min = 0.0, doc = "99th percentile of latency above which a minute is slow" }
-- slow_minutes = { default = 5, min = 1, max = 10, doc = "slow minutes in a row" }
-- min_requests = { default = 20, min = 1, doc = "requests to the canary in a minute that counts for latency" }
-- max_error_ratio = { default = 2.0, min = 1.0, doc = "times the stable error rate above which a minute is failing" }
-- failing_minutes = { default = 3, min = 1, max = 10, doc = "failing minutes in a row" }
-- min_errors = { default = 5, min = 1, doc = "errors of the canary in a minute that counts for errors" }
--
-- [exempt]
-- half_step = "counts whole minutes by the clock: half a minute later the same calls make one whole minute less"
-- edge = "counts whole minutes by the clock: half a minute later the same calls make one whole minute less"
-- ///
WITH requests AS (
    SELECT
        model,
        CASE
            WHEN strpos(lower(model_deployment), lower($marker)) > 0 THEN model_deployment
            ELSE '(stable)'
        END AS cohort,
        date_bin(INTERVAL '1 minute', event_time) AS minute,
        event_time,
        duration_ms,
        outcome
    FROM calls
    WHERE event_time >= $window_start AND event_time < $window_end
        AND record_role = 'primary'
        AND model_deployment IS NOT NULL
),

minutes AS (
    SELECT
        model,
        cohort,
        minute,
        count(*) AS request_count,
        count(*) FILTER (WHERE outcome = 'failure') AS error_count,
        percentile_cont(0.99) WITHIN GROUP (ORDER BY duration_ms) AS p99,
        min(event_time) AS first_seen,
        max(event_time) AS last_seen
    FROM requests
    GROUP BY model, cohort, minute
),

compared AS (
    SELECT
        canary.model,
        canary.cohort AS model_deployment,
        canary.minute,
        canary.request_count,
        canary.error_count,
        canary.p99,
        canary.first_seen,
        canary.last_seen,
        canary.request_count >= $min_requests
            AND canary.p99 > $max_p99_ms
            AND canary.p99 > coalesce(stable.p99, 0) AS is_slow,
        canary.error_count >= $min_errors
            AND stable.request_count > 0
            AND canary.error_count * 1.0 / canary.request_count
                > $max_error_ratio * stable.error_count / stable.request_count AS is_failing
    FROM minutes AS canary
    LEFT JOIN minutes AS stable
        ON stable.model = canary.model AND stable.minute = canary.minute AND stable.cohort = '(stable)'
    WHERE canary.cohort <> '(stable)'
),

bad AS (
    SELECT model, model_deployment, minute, request_count, error_count, p99, first_seen, last_seen, 'slow' AS reason
    FROM compared
    WHERE is_slow
    UNION ALL
    SELECT model, model_deployment, minute, request_count, error_count, p99, first_seen, last_seen, 'failing' AS reason
    FROM compared
    WHERE is_failing
),

-- Minutes in a row share the number that is left when their rank is taken from their minute.
ranked AS (
    SELECT
        *,
        CAST(date_part('epoch', minute) AS BIGINT) / 60
            - row_number() OVER (PARTITION BY model, model_deployment, reason ORDER BY minute) AS run
    FROM bad
),

runs AS (
    SELECT
        model,
        model_deployment,
        reason,
        count(*) AS minutes_in_a_row,
        sum(request_count) AS event_count,
        sum(error_count) AS errors,
        max(p99) AS worst_p99_ms,
        min(first_seen) AS first_seen,
        max(last_seen) AS last_seen
    FROM ranked
    GROUP BY model, model_deployment, reason, run
    HAVING count(*) >= CASE WHEN reason = 'slow' THEN $slow_minutes ELSE $failing_minutes END
)

SELECT
    model,
    model_deployment,
    CASE WHEN count(DISTINCT reason) > 1 THEN 'slow and failing' ELSE min(reason) END AS reason,
    max(minutes_in_a_row) AS minutes_in_a_row,
    CAST(max(event_count) AS BIGINT) AS event_count,
    CAST(max(errors) AS BIGINT) AS errors,
    max(worst_p99_ms) AS worst_p99_ms,
    min(first_seen) AS first_seen,
    max(last_seen) AS last_seen
FROM runs
GROUP BY model, model_deployment;

-- /// test
-- name = "five slow minutes in a row"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [
--   { event_time = "-8m", model = "m", model_deployment = "m-canary", duration_ms = 600.0, repeat = 100, every = "3s" },
--   { event_time = "-8m", model = "m", model_deployment = "m-prod", duration_ms = 200.0, repeat = 300, every = "1s" },
-- ]
-- expect = [{ model_deployment = "m-canary", reason = "slow", minutes_in_a_row = 5, event_count = 100, errors = 0, worst_p99_ms = 600.0, first_seen = "-8m" }]
-- ///

-- /// test
-- name = "three failing minutes in a row, five errors in each"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [
--   { event_time = "-5m", model = "m", model_deployment = "m-canary", duration_ms = 100.0, outcome = "failure", repeat = 15, every = "12s" },
--   { event_time = "-5m", model = "m", model_deployment = "m-canary", duration_ms = 100.0, repeat = 15, every = "12s" },
--   { event_time = "-5m", model = "m", model_deployment = "m-prod", duration_ms = 100.0, outcome = "failure", repeat = 36, every = "5s" },
--   { event_time = "-5m", model = "m", model_deployment = "m-prod", duration_ms = 100.0, repeat = 144, every = "1250ms" },
-- ]
-- expect = [{ reason = "failing", minutes_in_a_row = 3, errors = 15, event_count = 30 }]
-- ///

-- /// test
-- name = "four slow minutes, a gap in the middle, or exactly the limit are not enough"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [
--   { event_time = "-8m", model = "four", model_deployment = "canary", duration_ms = 600.0, repeat = 80, every = "3s" },
--   { event_time = "-9m", model = "gap", model_deployment = "canary", duration_ms = 600.0, repeat = 80, every = "3s" },
--   { event_time = "-4m", model = "gap", model_deployment = "canary", duration_ms = 600.0, repeat = 80, every = "3s" },
--   { event_time = "-8m", model = "limit", model_deployment = "canary", duration_ms = 500.0, repeat = 100, every = "3s" },
-- ]
-- expect = []
-- expect_state = "clear"
-- ///

-- /// test
-- name = "when the stable deployment suffers as much, the canary is not to blame"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [
--   { event_time = "-8m", model = "m", model_deployment = "m-canary", duration_ms = 900.0, outcome = "failure", repeat = 100, every = "3s" },
--   { event_time = "-8m", model = "m", model_deployment = "m-prod", duration_ms = 900.0, outcome = "failure", repeat = 300, every = "1s" },
-- ]
-- expect = []
-- ///
