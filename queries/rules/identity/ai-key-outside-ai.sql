-- /// rule
-- id          = "ai-key-outside-ai"
-- title       = "Key that exists for AI alone was used on another service"
-- version     = 1
-- status      = "stable"
-- severity    = "high"
-- confidence  = "high"
-- source      = ["audit"]
-- requires    = ["caller", "service"]
-- window      = "1h"
-- every       = "5m"
-- entity      = ["credential"]
-- atlas       = ["AML.T0012"]
-- owasp       = ["ASI03:2026"]
-- description = """
-- An API key for models belongs to a hidden user of its own, and an agent's role to one agent; neither has business with
-- identities, logs or storage. Any request of such a principal to a service that is not on the list of AI services
-- counts, also one that was refused: somebody looks what else the key opens. Keys of Bedrock are known by their user's
-- name; list the roles and service accounts of your agents in ai_principals."""
-- false_positives = ["An agent that was given a new tool on purpose: list the service"]
-- evasion     = ["Staying within AI services", "Agents whose role is not listed", "Services whose management events are not among the logs that are read"]
-- runbook     = "Revoke the key or the role's sessions; read what the requests asked for, and whether any was granted; find where the key lay open"
--
-- [params]
-- ai_principals = { default = [], doc = "names of users, roles and service accounts that only AI services should see" }
-- ai_services = { default = ["bedrock.amazonaws.com", "bedrock-runtime.amazonaws.com", "bedrock-agent.amazonaws.com", "bedrock-agentcore.amazonaws.com", "bedrock-mantle.amazonaws.com", "microsoft.cognitiveservices", "microsoft.machinelearningservices", "microsoft.search", "aiplatform.googleapis.com", "generativelanguage.googleapis.com", "modelarmor.googleapis.com", "discoveryengine.googleapis.com", "dialogflow.googleapis.com", "openai", "anthropic", "litellm"], doc = "services that such a key may use, lower case" }
--
-- [exempt]
-- rename = "a key is one for AI alone when a parameter lists its principal"
-- ///
SELECT
    coalesce(credential_id, caller) AS credential,
    min(caller) AS caller,
    count(DISTINCT coalesce(correlation_id, request_id, event_id)) AS event_count,
    count(DISTINCT coalesce(correlation_id, request_id, event_id)) FILTER (WHERE outcome <> 'failure') AS granted,
    count(DISTINCT lower(service)) AS services,
    min(service) AS service,
    min(action) AS action,
    count(DISTINCT action) AS actions,
    max(source_ip) AS source_ip,
    max(user_agent) AS user_agent,
    min(event_time) AS first_seen,
    max(event_time) AS last_seen
FROM audit
WHERE event_time >= $window_start AND event_time < $window_end
    AND caller IS NOT NULL
    AND service IS NOT NULL
    AND (
        user_name LIKE 'BedrockAPIKey-%'
        OR coalesce(array_has($ai_principals, user_name), FALSE)
        OR coalesce(array_has($ai_principals, caller), FALSE)
        OR coalesce(array_has($ai_principals, user_email), FALSE)
    )
    AND NOT array_has($ai_services, lower(service))
GROUP BY coalesce(credential_id, caller);

-- /// test
-- name = "a model key asks who there is, and an agent's role reads a log"
-- at   = 2026-01-01T01:00:00Z
-- params = { ai_principals = ["HelpdeskBot"] }
-- given.audit = [
--   { event_time = "-50m", caller = "arn:aws:iam::1:user/BedrockAPIKey-x9ab", user_name = "BedrockAPIKey-x9ab", user_type = "api_key", service = "iam.amazonaws.com", action = "ListUsers", outcome = "failure", error_type = "AccessDenied", source_ip = "203.0.113.9" },
--   { event_time = "-49m", caller = "arn:aws:iam::1:user/BedrockAPIKey-x9ab", user_name = "BedrockAPIKey-x9ab", user_type = "api_key", service = "iam.amazonaws.com", action = "GetUser" },
--   { event_time = "-40m", caller = "arn:aws:sts::1:assumed-role/HelpdeskBot/i-1", user_name = "HelpdeskBot", user_type = "assumed_role", credential_id = "ASIAEXAMPLE", service = "logs.amazonaws.com", action = "GetLogEvents" },
-- ]
-- expect = [
--   { credential = "arn:aws:iam::1:user/BedrockAPIKey-x9ab", event_count = 2, granted = 1, services = 1, actions = 2, service = "iam.amazonaws.com", source_ip = "203.0.113.9", first_seen = "-50m", last_seen = "-49m" },
--   { credential = "ASIAEXAMPLE", event_count = 1, granted = 1, service = "logs.amazonaws.com" },
-- ]
-- ///

-- /// test
-- name = "one request outside is enough, and one just before the window is not in it; principals are known by any name"
-- at   = 2026-01-01T01:00:00Z
-- params = { ai_principals = ["object-1", "bot@demo.iam.gserviceaccount.com"] }
-- given.audit = [
--   { event_time = "-60m", caller = "in", user_name = "BedrockAPIKey-in", service = "iam.amazonaws.com", action = "GetUser" },
--   { event_time = "-60m", caller = "object-1", service = "microsoft.authorization", action = "roleAssignments/write" },
--   { event_time = "-60m", caller = "serviceAccount:bot", user_email = "bot@demo.iam.gserviceaccount.com", service = "logging.googleapis.com", action = "UpdateSink" },
--   { event_time = "-60m", caller = "object-1", action = "unknown" },
--   { event_time = "-3601s", caller = "out", user_name = "BedrockAPIKey-out", service = "iam.amazonaws.com", action = "GetUser" },
-- ]
-- expect = [{ credential = "in" }, { credential = "object-1" }, { credential = "serviceAccount:bot" }]
-- ///

-- /// test
-- name = "the key on its own service is what it is for"
-- at   = 2026-01-01T01:00:00Z
-- given.audit = [
--   { event_time = "-50m", caller = "key", user_name = "BedrockAPIKey-x9ab", service = "Bedrock.amazonaws.com", action = "ListFoundationModels", repeat = 20, every = "1m" },
-- ]
-- expect = []
-- expect_state = "clear"
-- ///

-- /// test
-- name = "people, other roles, and administrators who work on the key's user look alike"
-- at   = 2026-01-01T01:00:00Z
-- params = { ai_principals = ["HelpdeskBot"] }
-- given.audit = [
--   { event_time = "-50m", caller = "arn:aws:iam::1:user/dana", user_name = "dana", service = "iam.amazonaws.com", action = "DeleteServiceSpecificCredential", resource_id = "BedrockAPIKey-x9ab" },
--   { event_time = "-50m", caller = "arn:aws:sts::1:assumed-role/Admin/lee", user_name = "Admin", service = "logs.amazonaws.com", action = "GetLogEvents" },
-- ]
-- expect = []
-- ///
