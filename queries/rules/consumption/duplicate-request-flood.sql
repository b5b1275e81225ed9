-- /// rule
-- id          = "duplicate-request-flood"
-- title       = "One key sent the same prompt again and again"
-- version     = 2
-- status      = "stable"
-- severity    = "medium"
-- confidence  = "high"
-- source      = ["calls_merged"]
-- requires    = ["caller", "input_sha256"]
-- window      = "10m"
-- every       = "1m"
-- entity      = ["credential"]
-- atlas       = ["AML.T0034.000"]
-- owasp       = ["LLM10:2025"]
-- description = """
-- Counts identical prompts by key, or by principal where no log names the key: the same keyed hash of the whole input,
-- so nobody reads a prompt. Each is paid for and none tells anything new; that is what a loop without an end and an
-- attack on the bill have in common. Calls that a gateway answered from its cache and calls that failed cost nothing
-- and do not count."""
-- false_positives = ["Health checks and load tests with a fixed prompt: give them a key of their own", "Classifiers that see the same short text often"]
-- evasion     = ["A counter or a random word in each prompt: see similarity-probing", "Many keys, each under the line", "Logs without prompts have no hash"]
-- runbook     = "Find the loop by client and address; answer the prompt from a cache or limit the key's rate, and stop the job that sends it"
--
-- [params]
-- min_repeats = { default = 100, min = 2, doc = "identical prompts of one key in ten minutes" }
-- ///
WITH prompts AS (
    SELECT
        coalesce(credential_id, caller) AS credential,
        input_sha256,
        max(caller) AS caller,
        count(*) AS repeats,
        count(DISTINCT model) AS models,
        sum(coalesce(input_tokens, 0) + coalesce(output_tokens, 0)) AS total_tokens,
        min(event_id) AS example_event_id,
        min(event_time) AS first_seen,
        max(event_time) AS last_seen
    FROM calls_merged
    WHERE event_time >= $window_start AND event_time < $window_end
        AND input_sha256 IS NOT NULL
        AND coalesce(credential_id, caller) IS NOT NULL
        AND outcome <> 'failure'
        AND cache_hit IS NOT TRUE
    GROUP BY coalesce(credential_id, caller), input_sha256
    HAVING count(*) >= $min_repeats
)

SELECT
    credential,
    max(caller) AS caller,
    CAST(sum(repeats) AS BIGINT) AS event_count,
    count(*) AS prompts,
    max(repeats) AS most_repeats,
    max(models) AS models,
    CAST(sum(total_tokens) AS BIGINT) AS total_tokens,
    min(example_event_id) AS example_event_id,
    min(first_seen) AS first_seen,
    max(last_seen) AS last_seen
FROM prompts
GROUP BY credential;

-- /// test
-- name = "a hundred times the same prompt, whoever else talks in between"
-- at   = 2026-01-01T00:10:00Z
-- given.calls = [
--   { event_time = "-9m", event_id = "loop-{i}", caller = "app", credential_id = "key-1", input_sha256 = "again", input_tokens = 20, output_tokens = 5, repeat = 100, every = "1s" },
--   { event_time = "-9m", caller = "app", credential_id = "key-1", input_sha256 = "other {i}", repeat = 300, every = "1s" },
-- ]
-- expect = [{ credential = "key-1", event_count = 100, prompts = 1, most_repeats = 100, total_tokens = 2_500, example_event_id = "loop-0", first_seen = "-9m", last_seen = "-441s" }]
-- ///

-- /// test
-- name = "ninety-nine are not enough, nor a hundred that are one second too old"
-- at   = 2026-01-01T00:10:00Z
-- given.calls = [
--   { event_time = "-9m", caller = "app", input_sha256 = "again", repeat = 99, every = "1s" },
--   { event_time = "-601s", caller = "app", input_sha256 = "again" },
-- ]
-- expect = []
-- expect_state = "clear"
-- ///

-- /// test
-- name = "a busy application asks much and never the same; cached and refused calls are not paid for"
-- at   = 2026-01-01T00:10:00Z
-- given.calls = [
--   { event_time = "-9m", caller = "app", input_sha256 = "question {i}", repeat = 500, every = "1s" },
--   { event_time = "-9m", caller = "faq", input_sha256 = "hours", cache_hit = true, repeat = 200, every = "1s" },
--   { event_time = "-9m", caller = "retry", input_sha256 = "again", outcome = "failure", http_status_code = 429, repeat = 200, every = "1s" },
-- ]
-- expect = []
-- ///

-- /// test
-- name = "the same prompt from two keys is not one key's flood"
-- at   = 2026-01-01T00:10:00Z
-- given.calls = [
--   { event_time = "-9m", caller = "a", input_sha256 = "again", repeat = 60, every = "1s" },
--   { event_time = "-9m", caller = "b", input_sha256 = "again", repeat = 60, every = "1s" },
-- ]
-- expect = []
-- ///

-- /// test
-- name = "two logs of a call are one call"
-- at   = 2026-01-01T00:10:00Z
-- given.calls = [
--   { event_time = "-9m", caller = "c", cloud_account_id = "1", request_id = "r{i}", source_format = "aws.bedrock.invocation", input_sha256 = "again", repeat = 60, every = "1s" },
--   { event_time = "-9m", caller = "c", cloud_account_id = "1", request_id = "r{i}", source_format = "aws.cloudtrail", record_role = "supplement", credential_id = "AKIAEXAMPLE", input_sha256 = "again", repeat = 60, every = "1s" },
-- ]
-- expect = []
-- ///

-- /// test
-- name = "without prompts in the log nothing can be said"
-- at   = 2026-01-01T00:10:00Z
-- given.calls = [{ event_time = "-9m", caller = "app", repeat = 500, every = "1s" }]
-- expect = []
-- expect_state = "not_covered"
-- ///

-- /// test
-- name = "calls without a caller are nobody's"
-- at   = 2026-01-01T00:10:00Z
-- given.calls = [
--   { event_time = "-9m", caller = "somebody", input_sha256 = "once" },
--   { event_time = "-9m", input_sha256 = "again", repeat = 200, every = "1s" },
-- ]
-- expect = []
-- expect_state = "clear"
-- ///
