-- /// rule
-- id          = "prediction-drift-chi2"
-- title       = "A model's predictions changed within minutes"
-- version     = 1
-- status      = "stable"
-- severity    = "high"
-- confidence  = "medium"
-- source      = ["calls"]
-- requires    = ["model", "prediction_class"]
-- window      = "10m"
-- every       = "1m"
-- entity      = ["model"]
-- atlas       = ["AML.T0031"]
-- owasp       = ["LLM04:2025"]
-- description = """
-- Compares the classes that a model predicted in the last five minutes with those of the five minutes before: a
-- two-sample chi-squared test of homogeneity. Rare classes, expected less than five times on the smaller side, are one
-- class of their own, as the test needs. With many predictions any difference is significant, so it must be large as
-- well (Cramer's V); with many models some test is always significant, so p-values are adjusted over the models
-- (Benjamini-Hochberg). At 288 independent windows a day, a line of 0.00001 is one false alert per model in a year."""
-- false_positives = ["A batch of one kind of input", "A new client with a traffic of its own"]
-- evasion     = ["A slow drift: each five minutes look like the five before", "Fewer predictions than min_predictions"]
-- runbook     = "Compare the inputs of the two halves; if they are alike, the model changed: roll it back"
--
-- [params]
-- min_predictions = { default = 200, min = 20, doc = "predictions of a model on either side" }
-- max_p = { default = 0.00001, min = 0.0, max = 1.0, doc = "adjusted p-value below which a change is no chance" }
-- min_effect = { default = 0.1, min = 0.0, max = 1.0, doc = "Cramer's V from which a change is large" }
-- ///
WITH predictions AS (
    SELECT
        model,
        prediction_class,
        CASE WHEN event_time >= $window_end - INTERVAL '5 minutes' THEN 'now' ELSE 'before' END AS side
    FROM calls
    WHERE event_time >= $window_start AND event_time < $window_end
        AND record_role = 'primary'
        AND model IS NOT NULL AND prediction_class IS NOT NULL
),

classes AS (
    SELECT
        model,
        prediction_class,
        count(*) FILTER (WHERE side = 'now') AS now_count,
        count(*) FILTER (WHERE side = 'before') AS before_count
    FROM predictions
    GROUP BY model, prediction_class
),

models AS (
    SELECT
        model,
        sum(now_count) AS now_total,
        sum(before_count) AS before_total
    FROM classes
    GROUP BY model
    HAVING sum(now_count) >= $min_predictions AND sum(before_count) >= $min_predictions
),

shares AS (
    SELECT
        classes.model,
        classes.prediction_class,
        models.now_total,
        models.before_total,
        classes.now_count * 1.0 / models.now_total - classes.before_count * 1.0 / models.before_total AS change,
        -- The expected count on the smaller side is the class's share of both times that side.
        CASE
            WHEN (classes.now_count + classes.before_count) * least(models.now_total, models.before_total)
                < 5 * (models.now_total + models.before_total) THEN '(rare)'
            ELSE classes.prediction_class
        END AS class
    FROM classes
    JOIN models ON models.model = classes.model
),

tests AS (
    SELECT
        predictions.model,
        chi_squared_p_agg(shares.class, predictions.side) AS p,
        cramers_v(shares.class, predictions.side) AS effect,
        count(*) AS event_count
    FROM predictions
    JOIN shares ON shares.model = predictions.model AND shares.prediction_class = predictions.prediction_class
    GROUP BY predictions.model
),

adjusted AS (
    SELECT
        model,
        p,
        effect,
        event_count,
        benjamini_hochberg(p) OVER () AS adjusted_p
    FROM tests
),

movers AS (
    SELECT
        model,
        first_value(prediction_class ORDER BY abs(change) DESC, prediction_class) AS moved_class,
        first_value(change ORDER BY abs(change) DESC, prediction_class) AS moved_by
    FROM shares
    GROUP BY model
)

SELECT
    adjusted.model,
    adjusted.event_count,
    adjusted.p,
    adjusted.adjusted_p,
    adjusted.effect,
    adjusted.effect AS score,
    movers.moved_class,
    movers.moved_by
FROM adjusted
JOIN movers ON movers.model = adjusted.model
WHERE adjusted.adjusted_p < $max_p AND adjusted.effect >= $min_effect;

-- The expected numbers are those of SciPy's chi2_contingency(table, correction=False) and
-- contingency.association(table, method="cramer").

-- /// test
-- name = "200 to 100 against 100 to 200 is a change"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [
--   { event_time = "-9m", model = "m", prediction_class = "ham", repeat = 200, every = "1s" },
--   { event_time = "-9m", model = "m", prediction_class = "spam", repeat = 100, every = "1s" },
--   { event_time = "-5m", model = "m", prediction_class = "ham", repeat = 100, every = "1s" },
--   { event_time = "-5m", model = "m", prediction_class = "spam", repeat = 200, every = "1s" },
-- ]
-- expect = [{ model = "m", event_count = 600, p = 3.215262727e-16, effect = 0.3333333333, moved_class = "ham", moved_by = -0.3333333333 }]
-- ///

-- /// test
-- name = "199 predictions on one side are too few"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [
--   { event_time = "-9m", model = "m", prediction_class = "ham", repeat = 200, every = "1s" },
--   { event_time = "-5m", model = "m", prediction_class = "spam", repeat = 199, every = "1s" },
-- ]
-- expect = []
-- expect_state = "clear"
-- ///

-- /// test
-- name = "a significant but small change does not fire"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [
--   { event_time = "-9m", model = "m", prediction_class = "ham", repeat = 6000, every = "30ms" },
--   { event_time = "-9m", model = "m", prediction_class = "spam", repeat = 4000, every = "30ms" },
--   { event_time = "-5m", model = "m", prediction_class = "ham", repeat = 5500, every = "30ms" },
--   { event_time = "-5m", model = "m", prediction_class = "spam", repeat = 4500, every = "30ms" },
-- ]
-- expect = []
-- ///

-- /// test
-- name = "many rare classes that come and go look like a change"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [
--   { event_time = "-9m", model = "m", prediction_class = "common", repeat = 300, every = "500ms" },
--   { event_time = "-9m", model = "m", prediction_class = "early-{i}", repeat = 60, every = "1s" },
--   { event_time = "-5m", model = "m", prediction_class = "common", repeat = 300, every = "500ms" },
--   { event_time = "-5m", model = "m", prediction_class = "late-{i}", repeat = 60, every = "1s" },
-- ]
-- expect = []
-- ///
