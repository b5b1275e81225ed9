-- /// panel
-- id          = "drift"
-- title       = "Prediction drift"
-- board       = "model"
-- position    = 7
-- size        = "third"
-- chart       = "line"
-- unit        = "p_value"
-- scale       = "log"
-- bucket      = "10m"
-- thresholds  = [{ value = 0.00001, level = "critical", below = true }]
-- drill_down  = "/rules/prediction-drift-chi2"
-- description = """
-- P-value of a chi-squared test of the classes of each step against those of the step before, for every classifier
-- with a hundred predictions in both. Classes that are expected less than five times are one class, as the test
-- needs. What is below a trillionth is drawn there. The line at 0.00001 is that of the rule prediction-drift-chi2."""
-- ///
WITH predictions AS (
    SELECT
        date_bin($bucket, event_time) AS step,
        model,
        prediction_class
    FROM calls_merged
    WHERE event_time >= $from - $bucket AND event_time < $to
        AND prediction_class IS NOT NULL AND model IS NOT NULL
        AND ($caller IS NULL OR caller = $caller)
        AND ($model IS NULL OR model = $model)
),

-- Each prediction is one of now for its own step, and one of before for the next.
sides AS (
    SELECT step AS time, model, prediction_class, 'now' AS side
    FROM predictions
    UNION ALL
    SELECT step + $bucket AS time, model, prediction_class, 'before' AS side
    FROM predictions
),

classes AS (
    SELECT
        time,
        model,
        prediction_class,
        count(*) FILTER (WHERE side = 'now') AS now_count,
        count(*) FILTER (WHERE side = 'before') AS before_count
    FROM sides
    GROUP BY time, model, prediction_class
),

totals AS (
    SELECT
        time,
        model,
        sum(now_count) AS now_total,
        sum(before_count) AS before_total
    FROM classes
    GROUP BY time, model
    HAVING sum(now_count) >= 100 AND sum(before_count) >= 100
),

named AS (
    SELECT
        classes.time,
        classes.model,
        classes.prediction_class,
        CASE
            WHEN (classes.now_count + classes.before_count) * least(totals.now_total, totals.before_total)
                < 5 * (totals.now_total + totals.before_total) THEN '(rare)'
            ELSE classes.prediction_class
        END AS class
    FROM classes
    JOIN totals ON totals.time = classes.time AND totals.model = classes.model
)

SELECT
    sides.time,
    sides.model AS series,
    greatest(chi_squared_p_agg(named.class, sides.side), 0.000000000001) AS value
FROM sides
JOIN named
    ON named.time = sides.time AND named.model = sides.model
        AND named.prediction_class = sides.prediction_class
WHERE sides.time >= $from AND sides.time < $to
GROUP BY sides.time, sides.model
ORDER BY time, series
