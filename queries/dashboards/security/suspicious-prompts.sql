-- /// panel
-- id          = "suspicious-prompts"
-- title       = "Suspicious prompts"
-- board       = "security"
-- position    = 11
-- size        = "full"
-- chart       = "table"
-- refresh     = "1m"
-- description = """
-- Calls with an injection score of a half or more, the highest first. The score and the techniques are found when a
-- log is read; the words are not here."""
-- ///
SELECT
    event_time AS time,
    injection_score AS score,
    caller,
    coalesce(model_family, model) AS model,
    array_to_string(injection_categories, ', ') AS techniques,
    outcome,
    end_user_id AS end_user,
    event_id
FROM calls_merged
WHERE event_time >= $from AND event_time < $to
    AND injection_score >= 0.5
    AND ($caller IS NULL OR caller = $caller)
    AND ($model IS NULL OR model = $model)
ORDER BY score DESC, time DESC
LIMIT 100
