-- /// tier
-- id          = "usage-rollup"
-- title       = "new or changed calls"
-- version     = 1
-- table       = "calls"
-- action      = "rollup"
-- minimum_age = "1h"
-- description = """
-- Calls by caller, model and hour, with tokens, cost, failures and a histogram of durations, so that a year of usage can
-- be asked for when the calls themselves have gone. A day is summed up again when calls have come for it."""
-- ///
SELECT
    period
FROM partitions
WHERE "table" = 'calls' AND period_end <= $now - INTERVAL '1 hour';

INSERT INTO usage
SELECT
    date_trunc('hour', event_time) AS event_time,
    caller,
    model,
    provider,
    count(*) AS calls,
    count(*) FILTER (WHERE outcome = 'failure') AS failures,
    count(*) FILTER (WHERE outcome = 'blocked') AS blocked,
    sum(input_tokens) AS input_tokens,
    sum(output_tokens) AS output_tokens,
    sum(total_tokens) AS total_tokens,
    sum(cost_usd) AS cost_usd,
    count(duration_ms) AS timed,
    sum(duration_ms) AS duration_ms_sum,
    max(duration_ms) AS duration_ms_max,
    count(*) FILTER (WHERE duration_ms <= 100) AS under_100ms,
    count(*) FILTER (WHERE duration_ms <= 300) AS under_300ms,
    count(*) FILTER (WHERE duration_ms <= 1000) AS under_1s,
    count(*) FILTER (WHERE duration_ms <= 3000) AS under_3s,
    count(*) FILTER (WHERE duration_ms <= 10000) AS under_10s,
    count(*) FILTER (WHERE duration_ms <= 30000) AS under_30s,
    count(*) FILTER (WHERE injection_score > 0) AS injection_hits,
    hour
FROM calls
WHERE event_time >= $period_start AND event_time < $period_end AND record_role = 'primary'
GROUP BY date_trunc('hour', event_time), caller, model, provider, hour;

-- /// test
-- name    = "an hour is summed up an hour after its end"
-- now     = 2026-10-25T03:00:00Z
-- periods = ["2026-10-25T01", "2026-10-25T02", "2026-10-24"]
-- expect  = ["2026-10-24", "2026-10-25T01"]
-- ///
