-- /// rule
-- id          = "slo-burn-rate"
-- title       = "The error budget of a deployment burns too fast"
-- version     = 1
-- kind        = "slo"
-- status      = "stable"
-- severity    = "medium"
-- confidence  = "high"
-- source      = ["calls_merged"]
-- requires    = ["outcome"]
-- window      = "72h"
-- every       = "5m"
-- quiet       = "1h"
-- entity      = ["deployment"]
-- atlas       = ["AML.T0029"]
-- owasp       = ["LLM10:2025"]
-- description = """
-- How fast failures use up the error budget of a deployment, as a multiple of the rate that would last for the whole
-- period of the objective. Three pairs of windows: an hour and five minutes at 14.4 (two percent of a month's budget in an
-- hour) is high, six hours and thirty minutes at 6 medium, three days and six hours at 1 low. Both windows of a pair must
-- burn: the long one says that it matters, the short one that it is still so. A pair is judged once calls of half its long
-- window are known: one bad day is not three. A failure is an error of the service,
-- throttling or a timeout; a request that was wrong or refused is none. When less than nine tenths of the usual records of
-- a steady deployment have come in the last hour, nothing is said either way and the window is `frozen`."""
-- false_positives = ["A client that gets timeouts of its own making", "A load test into a quota"]
-- evasion     = ["Failures that look like answers: see output-degeneration", "Too few requests to tell", "Services whose logs hold no failures"]
-- runbook     = "Look at error_type and at latency-zscore of the deployment; roll back what changed last, or move traffic, before asking why"
--
-- [params]
-- objective = { default = 0.995, min = 0.5, max = 0.99999, doc = "share of calls that succeed, as promised" }
-- fast = { default = 14.4, min = 1.0, doc = "burn rate of an hour and five minutes" }
-- middle = { default = 6.0, min = 1.0, doc = "burn rate of six hours and thirty minutes" }
-- slow = { default = 1.0, min = 0.1, doc = "burn rate of three days and six hours" }
-- min_errors = { default = 10, min = 1, doc = "failures in the long window of a pair" }
-- min_requests = { default = 10, min = 1, doc = "requests in the short window of a pair" }
-- min_coverage = { default = 0.9, min = 0.0, max = 1.0, doc = "share of the usual five minutes with a record, below which nothing is said" }
-- ///
WITH requests AS (
    SELECT
        coalesce(model_deployment, model, '(unknown)') AS deployment,
        event_time,
        date_bin(INTERVAL '5 minutes', event_time) AS slot,
        coalesce(
            outcome = 'failure'
            AND (http_status_code IS NULL OR http_status_code >= 500 OR http_status_code IN (408, 429)),
            FALSE
        ) AS is_error
    FROM calls_merged
    WHERE event_time >= $window_start AND event_time < $window_end
),

counted AS (
    SELECT
        deployment,
        count(*) FILTER (WHERE event_time >= $window_end - INTERVAL '5 minutes') AS requests_5m,
        count(*) FILTER (WHERE event_time >= $window_end - INTERVAL '5 minutes' AND is_error) AS errors_5m,
        count(*) FILTER (WHERE event_time >= $window_end - INTERVAL '30 minutes') AS requests_30m,
        count(*) FILTER (WHERE event_time >= $window_end - INTERVAL '30 minutes' AND is_error) AS errors_30m,
        count(*) FILTER (WHERE event_time >= $window_end - INTERVAL '1 hour') AS requests_1h,
        count(*) FILTER (WHERE event_time >= $window_end - INTERVAL '1 hour' AND is_error) AS errors_1h,
        count(*) FILTER (WHERE event_time >= $window_end - INTERVAL '6 hours') AS requests_6h,
        count(*) FILTER (WHERE event_time >= $window_end - INTERVAL '6 hours' AND is_error) AS errors_6h,
        count(*) AS requests_3d,
        count(*) FILTER (WHERE is_error) AS errors_3d,
        count(DISTINCT slot) FILTER (WHERE event_time >= $window_end - INTERVAL '1 hour') AS slots_1h,
        count(DISTINCT slot) AS slots,
        min(slot) AS first_slot,
        max(event_time) FILTER (WHERE is_error) AS last_seen
    FROM requests
    GROUP BY deployment
),

-- Multiples of the rate that the objective allows.
burning AS (
    SELECT
        deployment,
        errors_1h,
        errors_6h,
        errors_3d,
        requests_5m,
        requests_30m,
        requests_6h,
        last_seen,
        errors_5m / nullif(requests_5m * (1.0 - $objective), 0) AS burn_5m,
        errors_30m / nullif(requests_30m * (1.0 - $objective), 0) AS burn_30m,
        errors_1h / nullif(requests_1h * (1.0 - $objective), 0) AS burn_1h,
        errors_6h / nullif(requests_6h * (1.0 - $objective), 0) AS burn_6h,
        errors_3d / nullif(requests_3d * (1.0 - $objective), 0) AS burn_3d,
        slots_1h / 12.0 AS recent_share,
        slots * 300.0 / (date_part('epoch', $window_end) - date_part('epoch', first_slot)) AS usual_share,
        date_part('epoch', $window_end) - date_part('epoch', first_slot) AS known_seconds
    FROM counted
),

judged AS (
    SELECT
        deployment,
        errors_1h,
        errors_6h,
        errors_3d,
        burn_5m,
        burn_30m,
        burn_1h,
        burn_6h,
        burn_3d,
        last_seen,
        -- What comes and goes is not missed when it is not there.
        CASE
            WHEN known_seconds >= 21600 AND usual_share >= 0.75 THEN least(1.0, recent_share / usual_share)
            ELSE 1.0
        END AS coverage,
        CASE
            WHEN burn_1h >= $fast AND burn_5m >= $fast AND errors_1h >= $min_errors AND requests_5m >= $min_requests
                AND known_seconds >= 1800
                THEN 'high'
            WHEN burn_6h >= $middle AND burn_30m >= $middle AND errors_6h >= $min_errors AND requests_30m >= $min_requests
                AND known_seconds >= 10800
                THEN 'medium'
            WHEN burn_3d >= $slow AND burn_6h >= $slow AND errors_3d >= $min_errors AND requests_6h >= $min_requests
                AND known_seconds >= 129600
                THEN 'low'
        END AS severity
    FROM burning
)

SELECT
    deployment,
    coalesce(severity, 'info') AS severity,
    CASE severity WHEN 'high' THEN burn_1h WHEN 'medium' THEN burn_6h WHEN 'low' THEN burn_3d END AS score,
    CASE severity WHEN 'high' THEN '1h and 5m' WHEN 'medium' THEN '6h and 30m' WHEN 'low' THEN '3d and 6h' END AS windows,
    CASE severity WHEN 'high' THEN errors_1h WHEN 'medium' THEN errors_6h ELSE errors_3d END AS event_count,
    burn_5m,
    burn_30m,
    burn_1h,
    burn_6h,
    burn_3d,
    coverage,
    CASE WHEN coverage < $min_coverage THEN TRUE ELSE FALSE END AS is_frozen,
    last_seen
FROM judged
WHERE severity IS NOT NULL OR coverage < $min_coverage;

-- /// test
-- name = "fifteen times the budget in the hour and in the last five minutes"
-- at   = 2026-01-04T00:00:00Z
-- given.calls = [
--   { event_time = "-60m", model_deployment = "d", repeat = 1110, every = "3s" },
--   { event_time = "-60m", model_deployment = "d", outcome = "failure", http_status_code = 503, repeat = 90, every = "40s" },
-- ]
-- expect = [{ deployment = "d", severity = "high", windows = "1h and 5m", event_count = 90, is_frozen = false, score = 15.0 }]
-- ///

-- /// test
-- name = "what burned an hour ago and burns no more is no longer high"
-- at   = 2026-01-04T00:00:00Z
-- given.calls = [
--   { event_time = "-71h", model_deployment = "d", repeat = 840, every = "5m" },
--   { event_time = "-60m", model_deployment = "d", repeat = 1110, every = "3s" },
--   { event_time = "-60m", model_deployment = "d", outcome = "failure", http_status_code = 503, repeat = 90, every = "10s" },
-- ]
-- expect = [{ deployment = "d", severity = "low", windows = "3d and 6h" }]
-- ///

-- /// test
-- name = "forty-two failures in three days are just below the rate that lasts"
-- at   = 2026-01-04T00:00:00Z
-- given.calls = [
--   { event_time = "-71h", model_deployment = "d", repeat = 8520, every = "30s" },
--   { event_time = "-71h", model_deployment = "d", outcome = "failure", http_status_code = 503, repeat = 42, every = "100m" },
-- ]
-- expect = []
-- expect_state = "clear"
-- ///

-- /// test
-- name = "one failure in a hundred and fifty calls burns the budget within three days"
-- at   = 2026-01-04T00:00:00Z
-- given.calls = [
--   { event_time = "-71h", model_deployment = "d", repeat = 8520, every = "30s" },
--   { event_time = "-71h", model_deployment = "d", outcome = "failure", http_status_code = 503, repeat = 56, every = "76m" },
-- ]
-- expect = [{ deployment = "d", severity = "low", windows = "3d and 6h", event_count = 56 }]
-- ///

-- /// test
-- name = "a day that burns is not three days"
-- at   = 2026-01-04T00:00:00Z
-- given.calls = [
--   { event_time = "-24h", model_deployment = "d", repeat = 2880, every = "30s" },
--   { event_time = "-24h", model_deployment = "d", outcome = "failure", http_status_code = 503, repeat = 25, every = "57m" },
-- ]
-- expect = []
-- expect_state = "clear"
-- ///

-- /// test
-- name = "requests that were wrong, refused or blocked use up no budget"
-- at   = 2026-01-04T00:00:00Z
-- given.calls = [
--   { event_time = "-60m", model_deployment = "d", repeat = 1000, every = "3s" },
--   { event_time = "-60m", model_deployment = "d", outcome = "failure", http_status_code = 400, repeat = 600, every = "6s" },
--   { event_time = "-60m", model_deployment = "d", outcome = "blocked", repeat = 300, every = "12s" },
-- ]
-- expect = []
-- expect_state = "clear"
-- ///

-- /// test
-- name = "nine failures are too few to tell"
-- at   = 2026-01-04T00:00:00Z
-- given.calls = [
--   { event_time = "-60m", model_deployment = "d", repeat = 60, every = "1m" },
--   { event_time = "-60m", model_deployment = "d", outcome = "failure", http_status_code = 503, repeat = 9, every = "6m" },
-- ]
-- expect = []
-- ///

-- /// test
-- name = "with half of its usual records in the last hour, nothing is said"
-- at   = 2026-01-04T00:00:00Z
-- given.calls = [
--   { event_time = "-24h", model_deployment = "d", repeat = 2820, every = "30s" },
-- ]
-- expect = []
-- expect_state = "frozen"
-- ///
