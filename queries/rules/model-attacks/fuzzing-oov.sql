-- /// rule
-- id          = "fuzzing-oov"
-- title       = "Caller sent many prompts that look like noise"
-- version     = 1
-- status      = "stable"
-- severity    = "medium"
-- confidence  = "medium"
-- source      = ["calls_merged"]
-- requires    = ["caller", "input_entropy"]
-- window      = "10m"
-- every       = "1m"
-- entity      = ["caller"]
-- atlas       = ["AML.T0046", "AML.T0043"]
-- owasp       = ["LLM10:2025"]
-- description = """
-- Counts prompts whose characters are spread as no natural text spreads them, or that are mostly words a model does not
-- know. Prose has about 4 to 4.6 bits a character; one repeated character has 0, random bytes as text 6 and more. Short
-- prompts have little entropy by nature and are judged by their vocabulary only."""
-- false_positives = ["Base64 attachments and minified code in prompts", "Languages with large alphabets: raise max_entropy for their callers"]
-- evasion     = ["Noise made of real words", "Under the line in every ten minutes"]
-- runbook     = "Look at sizes and outcomes of the caller's calls; limit its rate, and check whether any answer leaked training text"
--
-- [params]
-- max_oov_rate = { default = 0.3, min = 0.0, max = 1.0, doc = "share of unknown tokens above which a prompt is noise" }
-- min_entropy = { default = 2.5, min = 0.0, max = 8.0, doc = "bits a character below which a prompt is noise" }
-- max_entropy = { default = 5.5, min = 0.0, max = 21.0, doc = "bits a character above which a prompt is noise" }
-- min_length = { default = 20, min = 1, doc = "characters below which entropy says nothing" }
-- min_count = { default = 20, min = 1, doc = "such prompts of one caller in ten minutes" }
-- ///
SELECT
    caller,
    count(*) AS event_count,
    avg(input_entropy) AS mean_entropy,
    max(input_oov_rate) AS max_oov,
    min(event_time) AS first_seen,
    max(event_time) AS last_seen
FROM calls_merged
WHERE event_time >= $window_start AND event_time < $window_end
    AND caller IS NOT NULL
    AND (
        input_oov_rate > $max_oov_rate
        OR (
            (input_entropy < $min_entropy OR input_entropy > $max_entropy)
            AND coalesce(input_text_length, $min_length) >= $min_length
        )
    )
GROUP BY caller
HAVING count(*) >= $min_count;

-- /// test
-- name = "twenty noisy prompts, by entropy on either side or by vocabulary"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [
--   { event_time = "-9m", caller = "fuzzer", input_entropy = 6.1, input_text_length = 400, repeat = 8, every = "1s" },
--   { event_time = "-8m", caller = "fuzzer", input_entropy = 0.2, input_text_length = 4000, repeat = 6, every = "1s" },
--   { event_time = "-7m", caller = "fuzzer", input_entropy = 4.2, input_oov_rate = 0.31, repeat = 6, every = "1s" },
-- ]
-- expect = [{ caller = "fuzzer", event_count = 20, max_oov = 0.31 }]
-- ///

-- /// test
-- name = "nineteen, or values on the lines, are not enough"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [
--   { event_time = "-9m", caller = "almost", input_entropy = 6.1, input_text_length = 400, repeat = 19, every = "1s" },
--   { event_time = "-9m", caller = "edge", input_entropy = 5.5, input_oov_rate = 0.3, input_text_length = 400, repeat = 50, every = "1s" },
--   { event_time = "-9m", caller = "edge", input_entropy = 2.5, input_text_length = 400, repeat = 50, every = "1s" },
-- ]
-- expect = []
-- expect_state = "clear"
-- ///

-- /// test
-- name = "many short answers such as yes and no look alike"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [
--   { event_time = "-9m", caller = "chat", input_entropy = 1.58, input_text_length = 3, repeat = 200, every = "1s" },
-- ]
-- expect = []
-- ///
