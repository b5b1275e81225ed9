-- /// rule
-- id          = "poisoning-source-ab"
-- title       = "One source of data has other labels than the rest"
-- version     = 1
-- status      = "stable"
-- severity    = "high"
-- confidence  = "medium"
-- source      = ["calls"]
-- requires    = ["service_name", "prediction_class"]
-- window      = "72h"
-- every       = "1h"
-- entity      = ["model", "service_name"]
-- atlas       = ["AML.T0020", "AML.T0059"]
-- owasp       = ["LLM04:2025"]
-- description = """
-- Who feeds a model can teach it. For each source of a model (the service that sent the data) the labels of three days
-- are compared with those of all its other sources: a chi-squared test of homogeneity, adjusted over the sources
-- (Benjamini-Hochberg), and Cramer's V for the size. The label that moves most is reported with its risk ratio, how many
-- times as frequent it is in this source, and the 95 % interval of that."""
-- false_positives = ["Sources that differ by design, such as one market each: raise min_effect for them"]
-- evasion     = ["Poisoning all sources alike", "Few poisoned rows in a large source"]
-- runbook     = "Hold back the source from training, read a sample of the label that moved, and find since when it moves"
--
-- [params]
-- min_rows = { default = 500, min = 50, doc = "labelled rows of the source, and of the others together" }
-- max_p = { default = 0.00001, min = 0.0, max = 1.0, doc = "adjusted p-value below which a difference is no chance" }
-- min_effect = { default = 0.1, min = 0.0, max = 1.0, doc = "Cramer's V from which a difference is large" }
-- ///
WITH labels AS (
    SELECT
        model,
        service_name,
        prediction_class
    FROM calls
    WHERE event_time >= $window_start AND event_time < $window_end
        AND record_role = 'primary'
        AND service_name IS NOT NULL AND prediction_class IS NOT NULL
),

sources AS (
    SELECT
        model,
        service_name,
        count(*) AS source_rows,
        sum(count(*)) OVER (PARTITION BY model) AS model_rows
    FROM labels
    GROUP BY model, service_name
),

candidates AS (
    SELECT
        model,
        service_name,
        source_rows,
        model_rows - source_rows AS other_rows
    FROM sources
    WHERE source_rows >= $min_rows AND model_rows - source_rows >= $min_rows
),

-- Every candidate with the labels of its model, on its own side or the other.
sides AS (
    SELECT
        candidates.model,
        candidates.service_name,
        labels.prediction_class,
        labels.service_name = candidates.service_name AS is_source
    FROM candidates
    JOIN labels ON labels.model = candidates.model
),

counts AS (
    SELECT
        sides.model,
        sides.service_name,
        sides.prediction_class,
        count(*) FILTER (WHERE sides.is_source) AS source_count,
        count(*) FILTER (WHERE NOT sides.is_source) AS other_count
    FROM sides
    GROUP BY sides.model, sides.service_name, sides.prediction_class
),

classes AS (
    SELECT
        counts.model,
        counts.service_name,
        counts.prediction_class,
        candidates.source_rows,
        candidates.other_rows,
        counts.source_count,
        counts.other_count,
        CASE
            WHEN (counts.source_count + counts.other_count) * least(candidates.source_rows, candidates.other_rows)
                < 5 * (candidates.source_rows + candidates.other_rows) THEN '(rare)'
            ELSE counts.prediction_class
        END AS class,
        -- Half a row on each side keeps the ratio finite where a label is missing.
        (counts.source_count + 0.5) / (candidates.source_rows + 0.5)
            / ((counts.other_count + 0.5) / (candidates.other_rows + 0.5)) AS risk_ratio,
        sqrt(
            1 / (counts.source_count + 0.5) - 1 / (candidates.source_rows + 0.5)
            + 1 / (counts.other_count + 0.5) - 1 / (candidates.other_rows + 0.5)
        ) AS log_error,
        counts.source_count * 1.0 / candidates.source_rows - counts.other_count * 1.0 / candidates.other_rows AS change
    FROM counts
    JOIN candidates ON candidates.model = counts.model AND candidates.service_name = counts.service_name
),

tests AS (
    SELECT
        sides.model,
        sides.service_name,
        chi_squared_p_agg(classes.class, sides.is_source) AS p,
        cramers_v(classes.class, sides.is_source) AS effect
    FROM sides
    JOIN classes
        ON classes.model = sides.model
        AND classes.service_name = sides.service_name
        AND classes.prediction_class = sides.prediction_class
    GROUP BY sides.model, sides.service_name
),

adjusted AS (
    SELECT
        model,
        service_name,
        p,
        effect,
        benjamini_hochberg(p) OVER () AS adjusted_p
    FROM tests
),

movers AS (
    SELECT
        model,
        service_name,
        max(source_rows) AS event_count,
        first_value(prediction_class ORDER BY abs(change) DESC, prediction_class) AS moved_class,
        first_value(risk_ratio ORDER BY abs(change) DESC, prediction_class) AS risk_ratio,
        first_value(risk_ratio * exp(-1.959964 * log_error) ORDER BY abs(change) DESC, prediction_class) AS risk_ratio_low,
        first_value(risk_ratio * exp(1.959964 * log_error) ORDER BY abs(change) DESC, prediction_class) AS risk_ratio_high
    FROM classes
    GROUP BY model, service_name
)

SELECT
    adjusted.model,
    adjusted.service_name,
    movers.event_count,
    adjusted.p,
    adjusted.adjusted_p,
    adjusted.effect,
    adjusted.effect AS score,
    movers.moved_class,
    movers.risk_ratio,
    movers.risk_ratio_low,
    movers.risk_ratio_high
FROM adjusted
JOIN movers ON movers.model = adjusted.model AND movers.service_name = adjusted.service_name
WHERE adjusted.adjusted_p < $max_p AND adjusted.effect >= $min_effect;

-- The expected numbers are those of SciPy's chi2_contingency(table, correction=False) and
-- contingency.association(table, method="cramer"); the ratio is worked out by hand.

-- /// test
-- name = "one source of three says benign far too often"
-- at   = 2026-01-04T00:00:00Z
-- given.calls = [
--   { event_time = "-70h", model = "m", service_name = "feed-a", prediction_class = "benign", repeat = 500, every = "1m" },
--   { event_time = "-70h", model = "m", service_name = "feed-a", prediction_class = "malicious", repeat = 500, every = "1m" },
--   { event_time = "-70h", model = "m", service_name = "feed-b", prediction_class = "benign", repeat = 500, every = "1m" },
--   { event_time = "-70h", model = "m", service_name = "feed-b", prediction_class = "malicious", repeat = 500, every = "1m" },
--   { event_time = "-60h", model = "m", service_name = "feed-x", prediction_class = "benign", repeat = 450, every = "1m" },
--   { event_time = "-60h", model = "m", service_name = "feed-x", prediction_class = "malicious", repeat = 50, every = "1m" },
-- ]
-- params = { min_effect = 0.3 }
-- expect = [{ model = "m", service_name = "feed-x", event_count = 500, moved_class = "benign", effect = 0.3241763594, p = 4.368907788e-59, risk_ratio = 1.799749975, risk_ratio_low = 1.707458587, risk_ratio_high = 1.897029889 }]
-- ///

-- /// test
-- name = "499 rows are too few"
-- at   = 2026-01-04T00:00:00Z
-- given.calls = [
--   { event_time = "-70h", model = "m", service_name = "feed-a", prediction_class = "benign", repeat = 500, every = "1m" },
--   { event_time = "-70h", model = "m", service_name = "feed-a", prediction_class = "malicious", repeat = 500, every = "1m" },
--   { event_time = "-60h", model = "m", service_name = "feed-x", prediction_class = "benign", repeat = 499, every = "1m" },
-- ]
-- expect = []
-- expect_state = "clear"
-- ///

-- /// test
-- name = "sources with the same mix look alike whatever their size, and models are not mixed"
-- at   = 2026-01-04T00:00:00Z
-- given.calls = [
--   { event_time = "-70h", model = "m", service_name = "feed-a", prediction_class = "benign", repeat = 2000, every = "1m" },
--   { event_time = "-70h", model = "m", service_name = "feed-a", prediction_class = "malicious", repeat = 1000, every = "1m" },
--   { event_time = "-70h", model = "m", service_name = "feed-b", prediction_class = "benign", repeat = 400, every = "1m" },
--   { event_time = "-70h", model = "m", service_name = "feed-b", prediction_class = "malicious", repeat = 200, every = "1m" },
--   { event_time = "-70h", model = "other", service_name = "feed-c", prediction_class = "malicious", repeat = 3000, every = "1m" },
-- ]
-- expect = []
-- ///
