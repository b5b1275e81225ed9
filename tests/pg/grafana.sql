What Grafana's PostgreSQL source asks when it is saved, and when a query is built in its editor.

-- the test of a source
SELECT 1;

-- the version of the server
SHOW server_version_num;

-- the version, as its editor asks
SELECT current_setting('server_version_num')::int/100 AS version;

-- whether TimescaleDB is there
SELECT extversion FROM pg_extension WHERE extname = 'timescaledb';

-- the tables: has calls
SELECT CASE WHEN quote_ident(table_schema) IN ('public') THEN quote_ident(table_name)
    ELSE quote_ident(table_schema) || '.' || quote_ident(table_name) END AS "table"
FROM information_schema.tables
WHERE quote_ident(table_schema) NOT IN ('information_schema', 'pg_catalog', '_timescaledb_cache', '_timescaledb_catalog',
    '_timescaledb_internal', '_timescaledb_config', 'timescaledb_information', 'timescaledb_experimental')
ORDER BY CASE WHEN quote_ident(table_schema) IN ('public') THEN 0 ELSE 1 END, 1;

-- the columns of a table: has input_tokens
SELECT quote_ident(column_name) AS "column", data_type AS "type"
FROM information_schema.columns
WHERE quote_ident(table_name) = 'calls';

-- a panel over time
SELECT date_bin(INTERVAL '60 seconds', event_time) AS "time", model AS metric, count(*) AS value
FROM calls
WHERE event_time BETWEEN '2020-01-01T00:00:00Z' AND '2030-01-01T00:00:00Z'
GROUP BY 1, 2
ORDER BY 1, 2;

-- a variable
SELECT DISTINCT model FROM calls WHERE model IS NOT NULL LIMIT 100;
