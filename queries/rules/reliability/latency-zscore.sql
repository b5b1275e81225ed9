-- /// rule
-- id          = "latency-zscore"
-- title       = "A model answers far slower than it used to"
-- version     = 1
-- status      = "stable"
-- severity    = "medium"
-- confidence  = "medium"
-- source      = ["calls"]
-- requires    = ["model", "duration_ms"]
-- window      = "15m"
-- every       = "5m"
-- baseline    = "7d"
-- min_history = 50
-- entity      = ["model", "answer_size"]
-- atlas       = ["AML.T0029"]
-- description = """
-- Latency depends on how much a model writes, so answers are compared with answers of the same order of size: 1 to 9
-- tokens, 10 to 99, and so on. The 95th percentile of the window is compared with those of the quarter hours of the
-- week before it: distance from their median in units of their spread (1.4826 times the median absolute deviation), on a
-- logarithmic scale, as latency has a long tail. A spread of less than five percent is taken as five percent, and the
-- model must be slower by a number of milliseconds that somebody would notice."""
-- false_positives = ["A model moved to another region or size of machine", "Prompts that grew without longer answers"]
-- evasion     = ["A slow-down that takes days", "Attacks that time out: they are failures, and not measured here"]
-- runbook     = "Compare regions and deployments of the model; many long prompts at once are context-stuffing, else ask the provider's status page"
--
-- [params]
-- min_calls = { default = 20, min = 1, doc = "answered calls in the window" }
-- min_bucket_calls = { default = 5, min = 1, doc = "answered calls in a quarter hour of history that counts" }
-- max_z = { default = 4.0, min = 0.0, doc = "robust z-score above which the model is slow" }
-- min_slower_ms = { default = 250.0, min = 0.0, doc = "milliseconds above the median from which it matters" }
-- ///
WITH buckets AS (
    SELECT
        model,
        floor(log10(greatest(coalesce(output_tokens, 1), 1))) AS magnitude,
        date_bin(INTERVAL '15 minutes', event_time) AS bucket,
        percentile_cont(0.95) WITHIN GROUP (ORDER BY duration_ms) AS p95
    FROM calls
    WHERE event_time >= $baseline_start AND event_time < $window_start
        AND record_role = 'primary'
        AND outcome = 'success' AND duration_ms IS NOT NULL
    GROUP BY model, floor(log10(greatest(coalesce(output_tokens, 1), 1))), date_bin(INTERVAL '15 minutes', event_time)
    HAVING count(*) >= $min_bucket_calls
),

medians AS (
    SELECT
        model,
        magnitude,
        count(*) AS history_count,
        median(p95) AS median_p95,
        median(ln(1 + p95)) AS median_log
    FROM buckets
    GROUP BY model, magnitude
),

spreads AS (
    SELECT
        buckets.model,
        buckets.magnitude,
        greatest(1.4826 * median(abs(ln(1 + buckets.p95) - medians.median_log)), ln(1.05)) AS spread
    FROM buckets
    JOIN medians ON medians.model = buckets.model AND medians.magnitude = buckets.magnitude
    GROUP BY buckets.model, buckets.magnitude
),

recent AS (
    SELECT
        model,
        floor(log10(greatest(coalesce(output_tokens, 1), 1))) AS magnitude,
        count(*) AS event_count,
        percentile_cont(0.95) WITHIN GROUP (ORDER BY duration_ms) AS p95,
        min(event_time) AS first_seen,
        max(event_time) AS last_seen
    FROM calls
    WHERE event_time >= $window_start AND event_time < $window_end
        AND record_role = 'primary'
        AND outcome = 'success' AND duration_ms IS NOT NULL
    GROUP BY model, floor(log10(greatest(coalesce(output_tokens, 1), 1)))
    HAVING count(*) >= $min_calls
),

scored AS (
    SELECT
        recent.model,
        CASE
            WHEN recent.magnitude = 0 THEN '1-9 tokens'
            WHEN recent.magnitude = 1 THEN '10-99 tokens'
            WHEN recent.magnitude = 2 THEN '100-999 tokens'
            WHEN recent.magnitude = 3 THEN '1000-9999 tokens'
            ELSE '10000 tokens or more'
        END AS answer_size,
        recent.event_count,
        recent.p95 AS p95_ms,
        medians.median_p95 AS usual_p95_ms,
        (ln(1 + recent.p95) - medians.median_log) / spreads.spread AS score,
        coalesce(medians.history_count, 0) AS history_count,
        recent.first_seen,
        recent.last_seen
    FROM recent
    LEFT JOIN medians ON medians.model = recent.model AND medians.magnitude = recent.magnitude
    LEFT JOIN spreads ON spreads.model = recent.model AND spreads.magnitude = recent.magnitude
)

-- With too little history a row is returned as it is, and counted as learning.
SELECT *
FROM scored
WHERE history_count < $min_history
    OR (score > $max_z AND p95_ms - usual_p95_ms >= $min_slower_ms);

-- /// test
-- name = "four times as slow as a steady week"
-- at   = 2026-01-08T00:00:00Z
-- given.calls = [
--   { event_time = "-20h", model = "m", output_tokens = 200, duration_ms = 500.0, repeat = 1140, every = "1m" },
--   { event_time = "-14m", model = "m", output_tokens = 200, duration_ms = 2000.0, repeat = 20, every = "10s" },
-- ]
-- expect = [{ model = "m", answer_size = "100-999 tokens", event_count = 20, p95_ms = 2000.0, usual_p95_ms = 500.0, score = 28.38269264, history_count = 76 }]
-- ///

-- /// test
-- name = "a spread of 5 percent puts the line at z 4 near 1.2155 times: 1.21 is below, 1.22 above"
-- at   = 2026-01-08T00:00:00Z
-- params = { min_slower_ms = "0" }
-- given.calls = [
--   { event_time = "-20h", model = "below", output_tokens = 200, duration_ms = 500.0, repeat = 1140, every = "1m" },
--   { event_time = "-14m", model = "below", output_tokens = 200, duration_ms = 605.0, repeat = 20, every = "10s" },
--   { event_time = "-20h", model = "above", output_tokens = 200, duration_ms = 500.0, repeat = 1140, every = "1m" },
--   { event_time = "-14m", model = "above", output_tokens = 200, duration_ms = 610.0, repeat = 20, every = "10s" },
-- ]
-- expect = [{ model = "above" }]
-- ///

-- /// test
-- name = "longer answers take longer: another size, not another speed"
-- at   = 2026-01-08T00:00:00Z
-- given.calls = [
--   { event_time = "-20h", model = "m", output_tokens = 200, duration_ms = 500.0, repeat = 1140, every = "1m" },
--   { event_time = "-20h", model = "m", output_tokens = 2000, duration_ms = 5000.0, repeat = 1140, every = "1m" },
--   { event_time = "-14m", model = "m", output_tokens = 2000, duration_ms = 5000.0, repeat = 200, every = "1s" },
-- ]
-- expect = []
-- expect_state = "clear"
-- ///

-- /// test
-- name = "with less than fifty quarter hours of history the model is being learnt"
-- at   = 2026-01-08T00:00:00Z
-- given.calls = [
--   { event_time = "-10h", model = "m", output_tokens = 200, duration_ms = 500.0, repeat = 500, every = "1m" },
--   { event_time = "-14m", model = "m", output_tokens = 200, duration_ms = 9000.0, repeat = 20, every = "10s" },
-- ]
-- expect = []
-- expect_state = "learning"
-- ///
