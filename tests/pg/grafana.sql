What Grafana's PostgreSQL source asks when it is saved and when a query is built in its editor (postgresMetaQuery.ts, and
schema.go where it says the newest). Parameters have their values in place. The panels of deploy/grafana-dashboard.json are tried beside.

-- the test of a source
SELECT 1;

-- the version, as its settings ask
SELECT current_setting('server_version_num')::int/100 as version;

-- whether TimescaleDB is there
SELECT extversion FROM pg_extension WHERE extname = 'timescaledb';

-- the schemas: has public
SELECT schema_name AS "name"
    FROM information_schema.schemata
    WHERE schema_name NOT IN ('information_schema',
                              'pg_catalog',
                              'pg_toast',
                              '_timescaledb_cache',
                              '_timescaledb_catalog',
                              '_timescaledb_internal',
                              '_timescaledb_config',
                              'timescaledb_information',
                              'timescaledb_experimental')
    ORDER BY schema_name;

-- the tables of a schema: has calls
SELECT quote_ident(table_name) AS "table"
      FROM information_schema.tables
      WHERE quote_ident(table_schema) = 'public'
      ORDER BY 1;

-- the tables, without the name of the schema in which they are looked for: has calls
SELECT
    CASE WHEN 
          quote_ident(table_schema) IN (
          SELECT
            CASE WHEN trim(s[i]) = '"$user"' THEN user ELSE trim(s[i]) END
          FROM
            generate_series(
              array_lower(string_to_array(current_setting('search_path'),','),1),
              array_upper(string_to_array(current_setting('search_path'),','),1)
            ) as i,
            string_to_array(current_setting('search_path'),',') s
          )
      THEN quote_ident(table_name)
      ELSE quote_ident(table_schema) || '.' || quote_ident(table_name)
    END AS "table"
    FROM information_schema.tables
    WHERE quote_ident(table_schema) NOT IN ('information_schema',
                             'pg_catalog',
                             '_timescaledb_cache',
                             '_timescaledb_catalog',
                             '_timescaledb_internal',
                             '_timescaledb_config',
                             'timescaledb_information',
                             'timescaledb_experimental')
    ORDER BY CASE WHEN 
          quote_ident(table_schema) IN (
          SELECT
            CASE WHEN trim(s[i]) = '"$user"' THEN user ELSE trim(s[i]) END
          FROM
            generate_series(
              array_lower(string_to_array(current_setting('search_path'),','),1),
              array_upper(string_to_array(current_setting('search_path'),','),1)
            ) as i,
            string_to_array(current_setting('search_path'),',') s
          ) THEN 0 ELSE 1 END, 1;

-- the columns of a table: has input_tokens
SELECT quote_ident(column_name) AS "column", data_type AS "type"
    FROM information_schema.columns
    WHERE
      CASE WHEN array_length(parse_ident('calls'),1) = 2
        THEN quote_ident(table_schema) = (parse_ident('calls'))[1]
          AND quote_ident(table_name) = (parse_ident('calls'))[2]
        ELSE quote_ident(table_name) = 'calls'
          AND 
          quote_ident(table_schema) IN (
          SELECT
            CASE WHEN trim(s[i]) = '"$user"' THEN user ELSE trim(s[i]) END
          FROM
            generate_series(
              array_lower(string_to_array(current_setting('search_path'),','),1),
              array_upper(string_to_array(current_setting('search_path'),','),1)
            ) as i,
            string_to_array(current_setting('search_path'),',') s
          )
      END;

-- the type by which it knows a time: has timestamp with time zone
SELECT data_type FROM information_schema.columns WHERE table_name = 'calls' AND column_name = 'event_time';

-- the schemas, as the newest asks: has public
SELECT schema_name FROM information_schema.schemata
		 WHERE schema_name NOT LIKE 'pg_%' AND schema_name != 'information_schema'
		 ORDER BY schema_name;

-- the tables, as the newest asks: has calls
SELECT table_name FROM information_schema.tables
		 WHERE table_schema = 'public' AND table_type IN ('BASE TABLE', 'VIEW')
		 ORDER BY table_name;

-- the columns, as the newest asks: has timestamptz
SELECT column_name, data_type, udt_name, numeric_precision, numeric_scale
		 FROM information_schema.columns
		 WHERE table_schema = 'public' AND table_name = 'calls'
		 ORDER BY ordinal_position;

-- the values of two columns
SELECT 'model' AS col_name, "model"::text AS val FROM (SELECT DISTINCT "model" FROM "public"."calls" WHERE "model" IS NOT NULL ORDER BY "model" LIMIT 100) sub_0 UNION ALL SELECT 'outcome' AS col_name, "outcome"::text AS val FROM (SELECT DISTINCT "outcome" FROM "public"."calls" WHERE "outcome" IS NOT NULL ORDER BY "outcome" LIMIT 100) sub_1;

-- a panel over time, with $__timeGroupAlias and $__timeFilter
SELECT floor(extract(epoch from event_time)/60)*60 AS "time", model AS metric, count(*) AS value
FROM calls
WHERE event_time BETWEEN '2020-01-01T00:00:00Z' AND '2030-01-01T00:00:00.123Z'
GROUP BY 1, 2
ORDER BY 1, 2;

-- a table, with $__time and $__unixEpochFilter
SELECT event_time AS "time", caller
FROM calls
WHERE extract(epoch from event_time) >= 1577836800 AND extract(epoch from event_time) <= 1893456000
LIMIT 50;

-- a variable
SELECT DISTINCT model FROM calls WHERE model IS NOT NULL LIMIT 100;
