-- /// panel
-- id          = "class-distribution"
-- title       = "Class distribution"
-- board       = "model"
-- position    = 4
-- size        = "half"
-- chart       = "stacked"
-- unit        = "percent"
-- bucket      = "15m"
-- drill_down  = "/rules/prediction-drift-chi2"
-- description = """
-- Share of each class among the predictions of a classifier, for the seven classes with the most. With several
-- classifiers, choose one of them as the model."""
-- ///
WITH steps AS (
    SELECT
        date_bin($bucket, event_time) AS time,
        prediction_class AS class,
        count(*) AS predictions
    FROM calls_merged
    WHERE event_time >= $from AND event_time < $to
        AND prediction_class IS NOT NULL
        AND ($caller IS NULL OR caller = $caller)
        AND ($model IS NULL OR model = $model)
    GROUP BY date_bin($bucket, event_time), prediction_class
),

largest AS (
    SELECT class
    FROM steps
    GROUP BY class
    ORDER BY sum(predictions) DESC, class
    LIMIT 7
),

named AS (
    SELECT
        steps.time,
        coalesce(largest.class, '(others)') AS series,
        sum(steps.predictions) AS predictions
    FROM steps
    LEFT JOIN largest ON largest.class = steps.class
    GROUP BY steps.time, coalesce(largest.class, '(others)')
)

SELECT
    time,
    series,
    predictions * 1.0 / sum(predictions) OVER (PARTITION BY time) AS value
FROM named
ORDER BY time, series
