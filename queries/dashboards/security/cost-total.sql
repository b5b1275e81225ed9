-- /// panel
-- id          = "cost-total"
-- title       = "Cost"
-- board       = "security"
-- position    = 4
-- size        = "quarter"
-- chart       = "stat"
-- unit        = "usd"
-- drill_down  = "/findings?rule=cost-spike"
-- description = """
-- What the calls cost, as the log reports it, else by the price list. Calls without a known price are not in it."""
-- ///
SELECT
    coalesce(sum(cost_usd) FILTER (WHERE event_time >= $from), 0.0) AS value,
    sum(cost_usd) FILTER (WHERE event_time < $from) AS previous
FROM calls_merged
WHERE event_time >= $previous AND event_time < $to
    AND ($caller IS NULL OR caller = $caller)
    AND ($model IS NULL OR model = $model)
