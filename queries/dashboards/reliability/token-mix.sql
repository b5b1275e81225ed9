-- /// panel
-- id          = "token-mix"
-- title       = "Token mix"
-- board       = "reliability"
-- position    = 9
-- size        = "half"
-- chart       = "stacked"
-- unit        = "tokens"
-- bucket      = "15m"
-- description = """
-- Tokens by what they were spent on. Reasoning is a part of the output and cache reads and writes are a part of the
-- input; here each is taken out of the whole."""
-- ///
SELECT
    date_bin($bucket, event_time) AS time,
    sum(greatest(
        input_tokens - coalesce(cache_read_input_tokens, 0) - coalesce(cache_write_input_tokens, 0), 0
    )) AS "input",
    sum(cache_read_input_tokens) AS "cache reads",
    sum(cache_write_input_tokens) AS "cache writes",
    sum(greatest(output_tokens - coalesce(reasoning_output_tokens, 0), 0)) AS "output",
    sum(reasoning_output_tokens) AS "reasoning"
FROM calls_merged
WHERE event_time >= $from AND event_time < $to
    AND ($caller IS NULL OR caller = $caller)
    AND ($model IS NULL OR model = $model)
GROUP BY date_bin($bucket, event_time)
ORDER BY time
