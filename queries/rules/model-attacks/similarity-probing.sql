-- /// rule
-- id          = "similarity-probing"
-- title       = "Caller sent many small variations of the same prompt"
-- version     = 1
-- status      = "stable"
-- severity    = "medium"
-- confidence  = "medium"
-- source      = ["calls_merged"]
-- requires    = ["caller", "input_sketch"]
-- window      = "15m"
-- every       = "1m"
-- entity      = ["caller"]
-- atlas       = ["AML.T0042", "AML.T0043.001"]
-- owasp       = ["LLM01:2025"]
-- description = """
-- An attack is tuned by changing a word and trying again. Each prompt of a caller is compared with the five different
-- prompts before it, by the sketch made at ingest; one that is nearly but not exactly a recent one counts. The same
-- prompt sent again and again does not."""
-- false_positives = ["Templates with one field that changes: raise min_near for their callers", "Evaluation suites"]
-- evasion     = ["More than five unrelated prompts between two variations", "Variations that share few characters"]
-- runbook     = "Compare the outcomes along the series: a refusal that turns into an answer is refusal-then-compliance"
--
-- [params]
-- min_similarity = { default = 0.8, min = 0.0, max = 1.0, doc = "similarity from which two prompts are variations" }
-- min_near = { default = 20, min = 1, doc = "variations of one caller in a quarter of an hour" }
-- ///
WITH prompts AS (
    -- The first time of each different prompt.
    SELECT
        caller,
        coalesce(input_sha256, input_sketch) AS prompt,
        min(event_time) AS event_time,
        min(input_sketch) AS sketch
    FROM calls_merged
    WHERE event_time >= $window_start AND event_time < $window_end
        AND caller IS NOT NULL AND input_sketch IS NOT NULL
    GROUP BY caller, coalesce(input_sha256, input_sketch)
),

compared AS (
    SELECT
        caller,
        event_time,
        greatest(
            sketch_similarity(sketch, lag(sketch, 1) OVER series),
            sketch_similarity(sketch, lag(sketch, 2) OVER series),
            sketch_similarity(sketch, lag(sketch, 3) OVER series),
            sketch_similarity(sketch, lag(sketch, 4) OVER series),
            sketch_similarity(sketch, lag(sketch, 5) OVER series)
        ) AS similarity
    FROM prompts
    WINDOW series AS (PARTITION BY caller ORDER BY event_time, prompt)
)

SELECT
    caller,
    count(*) AS event_count,
    avg(similarity) AS score,
    min(event_time) AS first_seen,
    max(event_time) AS last_seen
FROM compared
WHERE similarity >= $min_similarity
GROUP BY caller
HAVING count(*) >= $min_near;

-- /// test
-- name = "twenty-one variations make twenty near-duplicates"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [
--   { event_time = "-14m", caller = "prober", input_sha256 = "v{i}", input_sketch = "Please tell me step by step how the account recovery process of the internal support portal decides which security question it asks, attempt {i}", repeat = 21, every = "10s" },
-- ]
-- expect = [{ caller = "prober", event_count = 20 }]
-- ///

-- /// test
-- name = "twenty variations make nineteen"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [
--   { event_time = "-14m", caller = "prober", input_sha256 = "v{i}", input_sketch = "Please tell me step by step how the account recovery process of the internal support portal decides which security question it asks, attempt {i}", repeat = 20, every = "10s" },
-- ]
-- expect = []
-- expect_state = "clear"
-- ///

-- /// test
-- name = "the same prompt a hundred times is a flood, not probing"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [
--   { event_time = "-14m", caller = "cron", input_sha256 = "same", input_sketch = "Summarise the build log of the last hour in one sentence", repeat = 100, every = "5s" },
-- ]
-- expect = []
-- ///

-- /// test
-- name = "variations by many callers are not one caller probing"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [
--   { event_time = "-14m", caller = "user-{i}", input_sha256 = "v{i}", input_sketch = "Please tell me step by step how the account recovery process of the internal support portal decides which security question it asks, attempt {i}", repeat = 60, every = "5s" },
-- ]
-- expect = []
-- ///
