-- /// rule
-- id          = "session-identity-change"
-- title       = "A session changed hands"
-- version     = 2
-- status      = "stable"
-- severity    = "high"
-- confidence  = "medium"
-- source      = ["calls"]
-- requires    = ["conversation_id"]
-- window      = "1h"
-- every       = "5m"
-- baseline    = "7d"
-- entity      = ["conversation_id"]
-- atlas       = ["AML.T0091"]
-- owasp       = ["ASI03:2026", "ASI07:2026"]
-- description = """
-- A conversation belongs to one person, one application and its agents. Fires when more than one end user or principal
-- speaks in it; when an agent takes part that its service did not have in the week before; and when the client software
-- changes together with the network, or where no network is known. That is a session that was stolen, or an agent that
-- passes for another. Assumed roles are compared by role, as their session names change by machine, and software by
-- product, not by version. Logs that write principals in their own ways are not compared with each other. A change of
-- person is high, the others alone are medium. Ids that are too short to be unique, as test or 1, are left out."""
-- false_positives = ["Handing a conversation over to another person", "A new agent on its first day", "Ids that an application uses for everybody"]
-- evasion     = ["Using the same client, key and network", "Waiting longer than an hour", "Sessions that are not logged with an id"]
-- runbook     = "Compare address and client before and after the change; end the session, and ask the first user what they saw"
--
-- [params]
-- min_id_length = { default = 8, min = 1, doc = "characters of a conversation id that can be unique" }
-- ///
WITH turns AS (
    SELECT
        conversation_id,
        source_format,
        service_name,
        event_time,
        end_user_id,
        -- A role's session is named after a machine, and changes with it.
        -- A service is the caller of whatever names nobody: that is no change of hands.
        CASE
            WHEN user_type = 'assumed_role' THEN coalesce(user_name, caller)
            WHEN user_type IS DISTINCT FROM 'service' THEN caller
        END AS principal,
        nullif(lower(split_part(split_part(user_agent, '/', 1), ' ', 1)), '') AS software,
        -- In a CASE, so that no other record is parsed: the optimiser may move parsing below the filter.
        coalesce(
            json_get_str(CASE WHEN operation = 'invoke_agent' THEN attributes END, 'attributes', 'gen_ai.agent.id'),
            json_get_str(CASE WHEN operation = 'invoke_agent' THEN attributes END, 'attributes', 'gen_ai.agent.name')
        ) AS agent,
        source_ip_prefix
    FROM calls
    WHERE event_time >= $window_start AND event_time < $window_end
        AND conversation_id IS NOT NULL
        AND character_length(conversation_id) >= $min_id_length
),

-- Each log apart: two of them may name one person differently.
logs AS (
    SELECT
        conversation_id,
        source_format,
        count(*) AS records_in_log,
        count(DISTINCT end_user_id) AS end_users,
        count(DISTINCT principal) AS principals,
        count(DISTINCT software) AS clients,
        count(DISTINCT source_ip_prefix) AS networks,
        first_value(principal ORDER BY event_time) FILTER (WHERE principal IS NOT NULL) AS first_principal,
        last_value(principal ORDER BY event_time) FILTER (WHERE principal IS NOT NULL) AS last_principal,
        min(event_time) AS first_seen,
        max(event_time) AS last_seen
    FROM turns
    GROUP BY conversation_id, source_format
),

sessions AS (
    SELECT
        conversation_id,
        max(records_in_log) AS event_count,
        max(end_users) AS end_users,
        max(principals) AS principals,
        max(clients) AS clients,
        max(networks) AS networks,
        max(first_principal) AS first_principal,
        max(last_principal) AS last_principal,
        bool_or(clients > 1 AND networks <> 1) AS has_new_client,
        min(first_seen) AS first_seen,
        max(last_seen) AS last_seen
    FROM logs
    GROUP BY conversation_id
),

known_agents AS (
    SELECT DISTINCT
        coalesce(service_name, '') AS service,
        coalesce(
            json_get_str(CASE WHEN operation = 'invoke_agent' THEN attributes END, 'attributes', 'gen_ai.agent.id'),
            json_get_str(CASE WHEN operation = 'invoke_agent' THEN attributes END, 'attributes', 'gen_ai.agent.name')
        ) AS agent
    FROM calls
    WHERE event_time >= $baseline_start AND event_time < $window_start
        AND operation = 'invoke_agent'
),

strangers AS (
    SELECT
        turns.conversation_id,
        min(turns.agent) AS new_agent
    FROM turns
    WHERE turns.agent IS NOT NULL
        AND NOT EXISTS (
            SELECT 1
            FROM known_agents
            WHERE known_agents.service = coalesce(turns.service_name, '') AND known_agents.agent = turns.agent
        )
        -- A service none of whose agents was seen before is new itself.
        AND EXISTS (
            SELECT 1
            FROM known_agents
            WHERE known_agents.service = coalesce(turns.service_name, '') AND known_agents.agent IS NOT NULL
        )
    GROUP BY turns.conversation_id
),

companions AS (
    SELECT
        conversation_id,
        count(DISTINCT agent) AS agents
    FROM turns
    GROUP BY conversation_id
)

SELECT
    sessions.conversation_id,
    sessions.event_count,
    sessions.end_users,
    sessions.principals,
    sessions.clients,
    sessions.networks,
    companions.agents,
    strangers.new_agent,
    sessions.first_principal,
    sessions.last_principal,
    CASE WHEN sessions.end_users > 1 OR sessions.principals > 1 THEN 'high' ELSE 'medium' END AS severity,
    CASE
        WHEN sessions.end_users > 1 OR sessions.principals > 1 THEN 'A session changed hands'
        WHEN strangers.new_agent IS NOT NULL THEN 'An unknown agent joined a session'
        ELSE 'Another client went on with a session'
    END AS title,
    sessions.first_seen,
    sessions.last_seen
FROM sessions
JOIN companions ON companions.conversation_id = sessions.conversation_id
LEFT JOIN strangers ON strangers.conversation_id = sessions.conversation_id
WHERE sessions.end_users > 1
    OR sessions.principals > 1
    OR sessions.has_new_client
    OR (companions.agents > 1 AND strangers.new_agent IS NOT NULL);

-- /// test
-- name = "another user, another principal, another client, an agent nobody knows"
-- at   = 2026-01-08T00:00:00Z
-- given.calls = [
--   { event_time = "-3d", conversation_id = "session-0", service_name = "bot", record_role = "supplement", operation = "invoke_agent", attributes = '{"attributes":{"gen_ai.agent.id":"ag-1"}}' },
--   { event_time = "-40m", conversation_id = "sessn-a1", caller = "app", end_user_id = "dana" },
--   { event_time = "-30m", conversation_id = "sessn-a1", caller = "app", end_user_id = "mallory" },
--   { event_time = "-40m", conversation_id = "session-b", caller = "eve", source_ip_prefix = "192.0.2.0/24" },
--   { event_time = "-30m", conversation_id = "session-b", caller = "dana", source_ip_prefix = "198.51.100.0/24" },
--   { event_time = "-40m", conversation_id = "session-c", caller = "dana", user_agent = "openai-python/1.2" },
--   { event_time = "-30m", conversation_id = "session-c", caller = "dana", user_agent = "curl/8.0" },
--   { event_time = "-40m", conversation_id = "session-d", service_name = "bot", record_role = "supplement", operation = "invoke_agent", attributes = '{"attributes":{"gen_ai.agent.id":"ag-1"}}' },
--   { event_time = "-30m", conversation_id = "session-d", service_name = "bot", record_role = "supplement", operation = "invoke_agent", attributes = '{"attributes":{"gen_ai.agent.name":"shadow"}}' },
-- ]
-- expect = [
--   { conversation_id = "sessn-a1", event_count = 2, end_users = 2, principals = 1, severity = "high", first_seen = "-40m", last_seen = "-30m" },
--   { conversation_id = "session-b", principals = 2, networks = 2, severity = "high", first_principal = "eve", last_principal = "dana" },
--   { conversation_id = "session-c", clients = 2, networks = 0, severity = "medium", title = "Another client went on with a session" },
--   { conversation_id = "session-d", event_count = 2, agents = 2, new_agent = "shadow", severity = "medium", title = "An unknown agent joined a session" },
-- ]
-- ///

-- /// test
-- name = "agents that the service has, another client on the same network, and a change over more than an hour, do not fire"
-- at   = 2026-01-08T00:00:00Z
-- given.calls = [
--   { event_time = "-3d", service_name = "bot", record_role = "supplement", operation = "invoke_agent", attributes = '{"attributes":{"gen_ai.agent.id":"ag-{i}"}}', repeat = 2, every = "1m" },
--   { event_time = "-40m", conversation_id = "session-d", service_name = "bot", record_role = "supplement", operation = "invoke_agent", attributes = '{"attributes":{"gen_ai.agent.id":"ag-{i}"}}', repeat = 2, every = "1m" },
--   { event_time = "-40m", conversation_id = "session-n", service_name = "new-bot", record_role = "supplement", operation = "invoke_agent", attributes = '{"attributes":{"gen_ai.agent.id":"ag-{i}"}}', repeat = 2, every = "1m" },
--   { event_time = "-40m", conversation_id = "session-c", caller = "dana", user_agent = "openai-python/1.2", source_ip_prefix = "192.0.2.0/24" },
--   { event_time = "-30m", conversation_id = "session-c", caller = "dana", user_agent = "curl/8.0", source_ip_prefix = "192.0.2.0/24" },
--   { event_time = "-61m", conversation_id = "session-e", caller = "dana" },
--   { event_time = "-30m", conversation_id = "session-e", caller = "eve" },
-- ]
-- expect = []
-- expect_state = "clear"
-- ///

-- /// test
-- name = "one role on many machines, two versions of a client, unknown users, a service for want of a user, two logs, and ids of everybody look alike"
-- at   = 2026-01-08T00:00:00Z
-- given.calls = [
--   { event_time = "-40m", conversation_id = "session-f", caller = "arn:aws:sts::1:assumed-role/App/i-{i}", user_type = "assumed_role", user_name = "App", user_agent = "Boto3/1.{i} md/x", repeat = 5, every = "1m" },
--   { event_time = "-40m", conversation_id = "session-g", caller = "app", end_user_id = "dana" },
--   { event_time = "-39m", conversation_id = "session-g", caller = "app" },
--   { event_time = "-40m", conversation_id = "session-i", source_format = "otel.span", caller = "dana", user_type = "user" },
--   { event_time = "-39m", conversation_id = "session-i", source_format = "otel.span", caller = "front-desk", user_type = "service" },
--   { event_time = "-40m", conversation_id = "session-h", source_format = "litellm.payload", caller = "dana" },
--   { event_time = "-40m", conversation_id = "session-h", source_format = "otel.span", caller = "user-77" },
--   { event_time = "-40m", conversation_id = "default", caller = "user-{i}", repeat = 9, every = "1m" },
-- ]
-- expect = []
-- expect_state = "clear"
-- ///
