-- /// rule
-- id          = "model-extraction"
-- title       = "Caller asks as one would to copy a model"
-- version     = 1
-- status      = "stable"
-- severity    = "high"
-- confidence  = "medium"
-- source      = ["calls_merged"]
-- requires    = ["caller", "model", "input_sha256"]
-- window      = "6h"
-- every       = "15m"
-- entity      = ["caller", "model"]
-- atlas       = ["AML.T0024.002"]
-- owasp       = ["LLM10:2025"]
-- description = """
-- A copy is trained from questions and answers, so whoever makes one asks much, hardly ever the same, evenly over the
-- classes of a classifier, and without the traits of people at work: no conversation, no end user. All of these must
-- hold. Where no class is logged, as for a language model, evenness is left out."""
-- false_positives = ["Batch jobs over a catalogue: give them a caller of their own and a higher min_calls", "Evaluation suites"]
-- evasion     = ["Many callers", "Made-up conversation and user ids", "Repeating questions to lower novelty"]
-- runbook     = "Limit the caller's rate, keep its calls, and compare its topics with what your customers ask"
--
-- [params]
-- min_calls = { default = 1_000, min = 10, doc = "answered calls of one caller to one model in six hours" }
-- min_novelty = { default = 0.9, min = 0.0, max = 1.0, doc = "different prompts over all prompts" }
-- min_evenness = { default = 0.9, min = 0.0, max = 1.0, doc = "entropy of the predicted classes over its maximum" }
-- max_user_share = { default = 0.1, min = 0.0, max = 1.0, doc = "share of calls with a conversation or an end user" }
-- ///
WITH callers AS (
    SELECT
        caller,
        model,
        count(*) AS event_count,
        count(DISTINCT input_sha256) * 1.0 / count(*) AS novelty,
        count(DISTINCT prediction_class) AS classes,
        entropy_agg(prediction_class) AS class_bits,
        count(*) FILTER (WHERE conversation_id IS NOT NULL OR end_user_id IS NOT NULL) * 1.0 / count(*) AS user_share,
        min(event_time) AS first_seen,
        max(event_time) AS last_seen
    FROM calls_merged
    WHERE event_time >= $window_start AND event_time < $window_end
        AND outcome = 'success'
        AND caller IS NOT NULL AND input_sha256 IS NOT NULL
    GROUP BY caller, model
    HAVING count(*) >= $min_calls
)

SELECT
    caller,
    model,
    event_count,
    novelty,
    classes,
    CASE WHEN classes > 1 THEN class_bits / log2(classes) END AS evenness,
    user_share,
    novelty AS score,
    first_seen,
    last_seen
FROM callers
WHERE novelty >= $min_novelty
    AND user_share <= $max_user_share
    AND (classes = 0 OR (classes > 1 AND class_bits / log2(classes) >= $min_evenness));

-- /// test
-- name = "a thousand new questions, evenly over four classes, from nobody in particular"
-- at   = 2026-01-01T06:00:00Z
-- given.calls = [
--   { event_time = "-5h", caller = "thief", model = "m", input_sha256 = "a{i}", prediction_class = "cat", repeat = 250, every = "1m" },
--   { event_time = "-5h", caller = "thief", model = "m", input_sha256 = "b{i}", prediction_class = "dog", repeat = 250, every = "1m" },
--   { event_time = "-5h", caller = "thief", model = "m", input_sha256 = "c{i}", prediction_class = "cow", repeat = 250, every = "1m" },
--   { event_time = "-5h", caller = "thief", model = "m", input_sha256 = "d{i}", prediction_class = "hen", repeat = 250, every = "1m" },
-- ]
-- expect = [{ caller = "thief", model = "m", event_count = 1000, novelty = 1.0, evenness = 1.0, user_share = 0.0 }]
-- ///

-- /// test
-- name = "a language model has no classes; novelty and volume decide"
-- at   = 2026-01-01T06:00:00Z
-- given.calls = [
--   { event_time = "-5h", caller = "thief", model = "gpt", input_sha256 = "a{i}", repeat = 1000, every = "10s" },
-- ]
-- expect = [{ caller = "thief", event_count = 1000, classes = 0 }]
-- ///

-- /// test
-- name = "one call less is not enough"
-- at   = 2026-01-01T06:00:00Z
-- given.calls = [
--   { event_time = "-5h", caller = "thief", model = "gpt", input_sha256 = "a{i}", repeat = 999, every = "10s" },
-- ]
-- expect = []
-- expect_state = "clear"
-- ///

-- /// test
-- name = "busy products look alike: users behind it, questions repeated, one class far ahead"
-- at   = 2026-01-01T06:00:00Z
-- given.calls = [
--   { event_time = "-5h", caller = "app", model = "m", input_sha256 = "a{i}", conversation_id = "c{i}", repeat = 2000, every = "1s" },
--   { event_time = "-5h", caller = "faq", model = "m", input_sha256 = "opening hours", repeat = 2000, every = "1s" },
--   { event_time = "-5h", caller = "spam", model = "m", input_sha256 = "s{i}", prediction_class = "ham", repeat = 1900, every = "1s" },
--   { event_time = "-5h", caller = "spam", model = "m", input_sha256 = "t{i}", prediction_class = "spam", repeat = 100, every = "1s" },
-- ]
-- expect = []
-- ///
