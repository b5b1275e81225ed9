-- /// rule
-- id          = "azure-content-filter-400"
-- title       = "Azure's content filter refused one address again and again"
-- version     = 2
-- status      = "stable"
-- severity    = "medium"
-- confidence  = "medium"
-- source      = ["calls"]
-- requires    = ["source_ip_prefix"]
-- window      = "1h"
-- every       = "5m"
-- entity      = ["caller_address"]
-- atlas       = ["AML.T0054"]
-- owasp       = ["LLM01:2025"]
-- description = """
-- Counts requests that Azure OpenAI refused with HTTP 400 and the inner code content_filter, by the address they came
-- from. The service's own log masks the last octet of an address and does not say which 400 it was; a gateway in front
-- of it has both. An address is used whole where any log has it, else its network. Logs of one request share a
-- correlation id and count once."""
-- false_positives = ["One address for a whole company or a proxy", "A filter that is too strict for the task"]
-- evasion     = ["Many networks", "No gateway logs: the inner code is then unknown and nothing counts"]
-- runbook     = "List the callers behind the address; block the address at the gateway if they are not yours"
--
-- [params]
-- max_refusals = { default = 10, min = 0, doc = "refused requests from one address that are tolerated in an hour" }
-- ///
WITH refused AS (
    SELECT
        coalesce(correlation_id, event_id) AS request,
        coalesce(
            max(source_ip) FILTER (WHERE source_ip_valid),
            max(source_ip_prefix)
        ) AS caller_address,
        max(caller) AS caller,
        min(event_time) AS event_time,
        bool_or(lower(error_type) IN ('content_filter', 'responsibleaipolicyviolation')) AS is_filtered
    FROM calls
    WHERE event_time >= $window_start AND event_time < $window_end
        AND cloud_provider = 'azure'
        AND (http_status_code = 400 OR outcome = 'blocked')
    GROUP BY coalesce(correlation_id, event_id)
)

SELECT
    caller_address,
    array_slice(array_agg(DISTINCT caller ORDER BY caller), 1, 100) AS caller_ids,
    count(*) AS event_count,
    min(event_time) AS first_seen,
    max(event_time) AS last_seen
FROM refused
WHERE is_filtered AND caller_address IS NOT NULL
GROUP BY caller_address
HAVING count(*) > $max_refusals;

-- /// test
-- name = "eleven refusals from one address, whole in the gateway's log"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [
--   { event_time = "-50m", cloud_provider = "azure", source_format = "azure.openai.request_response", correlation_id = "r{i}", http_status_code = 400, outcome = "failure", source_ip = "198.51.100.***", source_ip_valid = false, source_ip_prefix = "198.51.100.0/24", repeat = 11, every = "1m" },
--   { event_time = "-50m", cloud_provider = "azure", source_format = "azure.apim.gateway", record_role = "supplement", correlation_id = "r{i}", http_status_code = 400, outcome = "blocked", error_type = "content_filter", source_ip = "198.51.100.7", source_ip_valid = true, source_ip_prefix = "198.51.100.0/24", repeat = 11, every = "1m" },
-- ]
-- expect = [{ caller_address = "198.51.100.7", event_count = 11, first_seen = "-50m", last_seen = "-40m" }]
-- ///

-- /// test
-- name = "a masked address fires by its network"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [
--   { event_time = "-50m", cloud_provider = "azure", http_status_code = 400, outcome = "blocked", error_type = "content_filter", source_ip = "198.51.100.***", source_ip_valid = false, source_ip_prefix = "198.51.100.0/24", repeat = 11, every = "1m" },
-- ]
-- expect = [{ caller_address = "198.51.100.0/24", event_count = 11 }]
-- ///

-- /// test
-- name = "ten refusals, each in two logs, stay ten"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [
--   { event_time = "-50m", cloud_provider = "azure", correlation_id = "r{i}", http_status_code = 400, error_type = "content_filter", source_ip = "198.51.100.7", source_ip_valid = true, source_ip_prefix = "198.51.100.0/24", repeat = 10, every = "1m" },
--   { event_time = "-50m", cloud_provider = "azure", record_role = "supplement", correlation_id = "r{i}", http_status_code = 400, error_type = "content_filter", source_ip = "198.51.100.7", source_ip_valid = true, source_ip_prefix = "198.51.100.0/24", repeat = 10, every = "1m" },
-- ]
-- expect = []
-- expect_state = "clear"
-- ///

-- /// test
-- name = "other client errors look alike and do not count"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [
--   { event_time = "-50m", cloud_provider = "azure", http_status_code = 400, outcome = "failure", error_type = "context_length_exceeded", source_ip = "198.51.100.7", source_ip_valid = true, source_ip_prefix = "198.51.100.0/24", repeat = 40, every = "1m" },
-- ]
-- expect = []
-- ///
