-- /// rule
-- id          = "throttle-storm"
-- title       = "Key is throttled and goes on calling"
-- version     = 2
-- status      = "stable"
-- severity    = "medium"
-- confidence  = "high"
-- source      = ["calls_merged"]
-- requires    = ["caller", "outcome"]
-- window      = "10m"
-- every       = "1m"
-- entity      = ["credential"]
-- atlas       = ["AML.T0029"]
-- owasp       = ["LLM10:2025"]
-- description = """
-- A key, or a principal where no log names the key, was refused fifty times in ten minutes for asking too much, and
-- kept asking. A client that backs off as it is told falls silent before. The quota is often shared: the storm of one
-- key is an outage for the others. Throttling is recognised on every cloud, by HTTP 429 or by the vendor's error."""
-- false_positives = ["Batch jobs without back-off", "A quota that was set too low: many keys at once"]
-- evasion     = ["Staying just under the quota", "Many keys", "Gateways that queue instead of refusing"]
-- runbook     = "See whose quota it is and who else suffers; limit the key at the gateway, and have its client back off with jitter"
--
-- [params]
-- min_throttled = { default = 50, min = 1, doc = "throttled calls of one key in ten minutes" }
-- min_after = { default = 10, min = 1, doc = "calls that the key made after the last of these" }
-- ///
WITH requests AS (
    SELECT
        coalesce(credential_id, caller) AS credential,
        caller,
        model,
        event_id,
        event_time,
        coalesce(
            http_status_code = 429
            OR replace(lower(error_type), '_', '') IN (
                'throttlingexception', 'throttling', 'throttled', 'toomanyrequests', 'toomanyrequestsexception',
                'resourceexhausted', '8', 'ratelimitexceeded', 'ratelimiterror', 'ratelimitreached',
                'requestlimitexceeded', 'servicequotaexceededexception', 'quotaexceeded', 'insufficientquota', '429'
            ),
            FALSE
        ) AS is_throttled
    FROM calls_merged
    WHERE event_time >= $window_start AND event_time < $window_end
        AND coalesce(credential_id, caller) IS NOT NULL
),

ranked AS (
    SELECT
        credential,
        event_time,
        row_number() OVER (PARTITION BY credential ORDER BY event_time, event_id) AS position
    FROM requests
    WHERE is_throttled
),

storms AS (
    SELECT
        credential,
        event_time AS told_at
    FROM ranked
    WHERE position = $min_throttled
)

SELECT
    requests.credential,
    max(requests.caller) AS caller,
    count(*) FILTER (WHERE requests.is_throttled) AS event_count,
    count(*) FILTER (WHERE requests.event_time > storms.told_at) AS calls_after,
    count(*) FILTER (WHERE NOT requests.is_throttled) AS answered,
    count(DISTINCT requests.model) AS models,
    min(requests.event_time) FILTER (WHERE requests.is_throttled) AS first_seen,
    max(requests.event_time) FILTER (WHERE requests.is_throttled) AS last_seen
FROM requests
JOIN storms ON storms.credential = requests.credential
GROUP BY requests.credential
HAVING count(*) FILTER (WHERE requests.event_time > storms.told_at) >= $min_after;

-- /// test
-- name = "sixty refusals in two spellings: ten calls after the fiftieth"
-- at   = 2026-01-01T00:10:00Z
-- given.calls = [
--   { event_time = "-9m", caller = "app", credential_id = "key-1", model = "m", outcome = "failure", http_status_code = 429, repeat = 30, every = "1s" },
--   { event_time = "-8m", caller = "app", credential_id = "key-1", model = "m", outcome = "failure", error_type = "RESOURCE_EXHAUSTED", repeat = 25, every = "1s" },
--   { event_time = "-7m", caller = "app", credential_id = "key-1", model = "n", repeat = 5, every = "1s" },
-- ]
-- expect = [{ credential = "key-1", event_count = 55, calls_after = 10, answered = 5, models = 2, first_seen = "-9m", last_seen = "-456s" }]
-- ///

-- /// test
-- name = "forty-nine refusals are not enough, nor fifty followed by nine calls"
-- at   = 2026-01-01T00:10:00Z
-- given.calls = [
--   { event_time = "-9m", caller = "fewer", outcome = "failure", http_status_code = 429, repeat = 49, every = "1s" },
--   { event_time = "-8m", caller = "fewer", repeat = 100, every = "1s" },
--   { event_time = "-9m", caller = "polite", outcome = "failure", http_status_code = 429, repeat = 50, every = "1s" },
--   { event_time = "-5m", caller = "polite", repeat = 9, every = "10s" },
-- ]
-- expect = []
-- expect_state = "clear"
-- ///

-- /// test
-- name = "other failures look alike: a broken client, a denied one, a server in trouble"
-- at   = 2026-01-01T00:10:00Z
-- given.calls = [
--   { event_time = "-9m", caller = "app", outcome = "failure", http_status_code = 400, repeat = 100, every = "1s" },
--   { event_time = "-7m", caller = "app", outcome = "failure", error_type = "AccessDeniedException", repeat = 100, every = "1s" },
--   { event_time = "-4m", caller = "app", outcome = "failure", http_status_code = 503, error_type = "ModelNotReadyException", repeat = 100, every = "1s" },
-- ]
-- expect = []
-- ///

-- /// test
-- name = "a refusal that two logs tell of counts once"
-- at   = 2026-01-01T00:10:00Z
-- given.calls = [
--   { event_time = "-9m", caller = "c", cloud_account_id = "1", request_id = "r{i}", source_format = "aws.bedrock.invocation", outcome = "failure", error_type = "ThrottlingException", repeat = 40, every = "1s" },
--   { event_time = "-9m", caller = "c", cloud_account_id = "1", request_id = "r{i}", source_format = "aws.cloudtrail", record_role = "supplement", credential_id = "AKIAEXAMPLE", outcome = "failure", error_type = "ThrottlingException", repeat = 40, every = "1s" },
-- ]
-- expect = []
-- ///

-- /// test
-- name = "calls without a caller are nobody's"
-- at   = 2026-01-01T00:10:00Z
-- given.calls = [
--   { event_time = "-9m", caller = "somebody", model = "m" },
--   { event_time = "-9m", outcome = "failure", http_status_code = 429, repeat = 200, every = "1s" },
-- ]
-- expect = []
-- expect_state = "clear"
-- ///
