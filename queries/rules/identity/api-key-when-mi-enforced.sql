-- /// rule
-- id          = "api-key-when-mi-enforced"
-- title       = "API key used on a resource that must use managed identities"
-- version     = 2
-- status      = "stable"
-- severity    = "high"
-- confidence  = "high"
-- source      = ["calls"]
-- requires    = ["cloud_resource_id"]
-- window      = "15m"
-- every       = "1m"
-- entity      = ["cloud_resource_id", "credential"]
-- atlas       = ["AML.T0012"]
-- owasp       = ["ASI03:2026"]
-- description = """
-- A call with an API key reached an Azure OpenAI resource on the list of those that must only be called with managed
-- identities. Any such call counts, also one that was refused: somebody holds a key. Azure logs no principal for a
-- call with a key, so a call without one counts as well. Set enforced_resources; with an empty list nothing fires."""
-- false_positives = ["A resource that was put on the list before its last client moved"]
-- evasion     = ["Resources that are not on the list", "Calls through a gateway that has an identity of its own"]
-- runbook     = "Regenerate the keys of the resource, then disable local authentication on it; find the client by its address"
--
-- [params]
-- enforced_resources = { default = [], doc = "resource ids, lower case, on which keys are forbidden" }
--
-- [exempt]
-- rename = "the resources that want managed identities are listed by a parameter"
-- ///
SELECT
    lower(cloud_resource_id) AS cloud_resource_id,
    coalesce(credential_id, caller, '(key)') AS credential,
    max(caller) AS caller,
    count(*) AS event_count,
    count(*) FILTER (WHERE outcome = 'success') AS accepted,
    max(coalesce(source_ip, source_ip_prefix)) AS source_ip,
    min(event_time) AS first_seen,
    max(event_time) AS last_seen
FROM calls
WHERE event_time >= $window_start AND event_time < $window_end
    AND record_role = 'primary'
    AND cloud_provider = 'azure'
    AND (user_type = 'api_key' OR caller IS NULL)
    AND array_has($enforced_resources, lower(cloud_resource_id))
GROUP BY lower(cloud_resource_id), coalesce(credential_id, caller, '(key)');

-- /// test
-- name = "one call with a key is enough, however the resource is spelt"
-- at   = 2026-01-01T01:00:00Z
-- params = { enforced_resources = ["/subscriptions/s/accounts/prod"] }
-- given.calls = [
--   { event_time = "-3m", cloud_provider = "azure", cloud_resource_id = "/SUBSCRIPTIONS/S/ACCOUNTS/PROD", user_type = "api_key", credential_id = "k1", source_ip = "198.51.100.7" },
--   { event_time = "-2m", cloud_provider = "azure", cloud_resource_id = "/subscriptions/s/accounts/prod", outcome = "failure" },
-- ]
-- expect = [
--   { cloud_resource_id = "/subscriptions/s/accounts/prod", credential = "k1", event_count = 1, accepted = 1, source_ip = "198.51.100.7" },
--   { cloud_resource_id = "/subscriptions/s/accounts/prod", credential = "(key)", event_count = 1, accepted = 0 },
-- ]
-- ///

-- /// test
-- name = "managed identities on the same resource are what it is for"
-- at   = 2026-01-01T01:00:00Z
-- params = { enforced_resources = ["/subscriptions/s/accounts/prod"] }
-- given.calls = [
--   { event_time = "-3m", cloud_provider = "azure", cloud_resource_id = "/subscriptions/s/accounts/prod", user_type = "managed_identity", caller = "object-1", repeat = 20, every = "1s" },
-- ]
-- expect = []
-- expect_state = "clear"
-- ///

-- /// test
-- name = "keys on a resource that is not listed, or just outside the window, do not fire"
-- at   = 2026-01-01T01:00:00Z
-- params = { enforced_resources = ["/subscriptions/s/accounts/prod"] }
-- given.calls = [
--   { event_time = "-3m", cloud_provider = "azure", cloud_resource_id = "/subscriptions/s/accounts/dev", user_type = "api_key" },
--   { event_time = "-16m", cloud_provider = "azure", cloud_resource_id = "/subscriptions/s/accounts/prod", user_type = "api_key" },
-- ]
-- expect = []
-- ///
