-- /// rule
-- id          = "log-silence"
-- title       = "A log that came steadily has stopped"
-- version     = 1
-- kind        = "absence"
-- status      = "stable"
-- severity    = "high"
-- confidence  = "medium"
-- source      = ["calls"]
-- requires    = ["source_format"]
-- window      = "15m"
-- every       = "5m"
-- baseline    = "48h"
-- entity      = ["source", "account"]
-- atlas       = ["AML.T0107"]
-- owasp       = ["ASI10:2026"]
-- description = """
-- A log of one format and account that had a record in nearly every quarter of an hour for half a day or longer, and then
-- none for a quarter of an hour, while time goes on in other logs: a collector that broke, a log that was switched off,
-- or somebody who does not want to be seen. How steady it was is measured from its first to its last record, so a log that
-- has been silent for a day was still steady. Where all logs stop together, time stops as well: tell the run up to when
-- nothing is missing (`run --closed-until now`)."""
-- false_positives = ["A service that was shut down on purpose", "A batch that ends after running for more than half a day"]
-- evasion     = ["Letting a few records through", "Logs that were never steady, such as those of office hours", "A log that is delivered late for longer than rows are waited for fires first, and is taken back when it comes"]
-- runbook     = "Look at the collector and at the logging settings of the account (invocation-logging-off); then ask what was called meanwhile in the provider's own figures of usage"
--
-- [params]
-- min_share = { default = 0.95, min = 0.5, max = 1.0, doc = "share of quarters of an hour with a record, from the first to the last" }
-- min_span = { default = "12h", min = "1h", max = "48h", doc = "how long the log must have been steady" }
-- ///
WITH quarters AS (
    SELECT
        source_format AS source,
        coalesce(cloud_account_id, service_name, '(none)') AS account,
        date_bin(INTERVAL '15 minutes', event_time) AS quarter,
        count(*) AS records,
        max(event_time) AS last_record
    FROM calls
    WHERE event_time >= $baseline_start AND event_time < $window_start
    GROUP BY source_format, coalesce(cloud_account_id, service_name, '(none)'), date_bin(INTERVAL '15 minutes', event_time)
),

steady AS (
    SELECT
        source,
        account,
        sum(records) AS records,
        count(*) AS quarters,
        min(quarter) AS first_quarter,
        max(quarter) AS last_quarter,
        max(last_record) AS last_record
    FROM quarters
    GROUP BY source, account
),

recent AS (
    SELECT DISTINCT
        source_format AS source,
        coalesce(cloud_account_id, service_name, '(none)') AS account
    FROM calls
    WHERE event_time >= $window_start AND event_time < $window_end
)

SELECT
    steady.source,
    steady.account,
    CAST(steady.records AS BIGINT) AS records_before,
    steady.quarters,
    steady.last_record AS silent_since
FROM steady
WHERE steady.first_quarter <= steady.last_quarter - $min_span
    -- Quarters from the first to the last, both included.
    AND steady.quarters >= $min_share
    * (1 + (date_part('epoch', steady.last_quarter) - date_part('epoch', steady.first_quarter)) / 900.0)
    AND NOT EXISTS (
        SELECT 1
        FROM recent
        WHERE recent.source = steady.source AND recent.account = steady.account
    );

-- /// test
-- name = "thirteen hours of records, then none for a quarter of an hour while another log goes on"
-- at   = 2026-01-02T00:00:00Z
-- given.calls = [
--   { event_time = "-790m", source_format = "aws.bedrock.invocation", cloud_account_id = "1", repeat = 155, every = "5m" },
--   { event_time = "-5m", source_format = "azure.openai.request_response" },
-- ]
-- expect = [{ source = "aws.bedrock.invocation", account = "1", records_before = 155, silent_since = "-20m" }]
-- ///

-- /// test
-- name = "it is still silent a day later"
-- at   = 2026-01-03T00:00:00Z
-- given.calls = [
--   { event_time = "-46h", source_format = "aws.bedrock.invocation", cloud_account_id = "1", repeat = 160, every = "5m" },
--   { event_time = "-5m", source_format = "azure.openai.request_response" },
-- ]
-- expect = [{ source = "aws.bedrock.invocation" }]
-- ///

-- /// test
-- name = "one record in the quarter of an hour is enough"
-- at   = 2026-01-02T00:00:00Z
-- given.calls = [
--   { event_time = "-790m", source_format = "aws.bedrock.invocation", cloud_account_id = "1", repeat = 155, every = "5m" },
--   { event_time = "-15m", source_format = "aws.bedrock.invocation", cloud_account_id = "1" },
-- ]
-- expect = []
-- expect_state = "clear"
-- ///

-- /// test
-- name = "eleven hours are too short to call it steady"
-- at   = 2026-01-02T00:00:00Z
-- given.calls = [
--   { event_time = "-680m", source_format = "aws.bedrock.invocation", cloud_account_id = "1", repeat = 133, every = "5m" },
--   { event_time = "-5m", source_format = "azure.openai.request_response" },
-- ]
-- expect = []
-- ///

-- /// test
-- name = "a record an hour is not steady"
-- at   = 2026-01-02T00:00:00Z
-- given.calls = [
--   { event_time = "-46h", source_format = "aws.bedrock.invocation", cloud_account_id = "1", repeat = 46, every = "1h" },
--   { event_time = "-5m", source_format = "azure.openai.request_response" },
-- ]
-- expect = []
-- ///
