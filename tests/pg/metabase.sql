What Metabase and the JDBC driver below it ask when a database is added and its tables are read.

-- the driver's settings
SET extra_float_digits = 3;

-- the name of the application
SET application_name = 'Metabase';

-- the isolation
SHOW TRANSACTION ISOLATION LEVEL;

-- a read-only session
SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY;

-- the zone
SET SESSION TIMEZONE TO 'UTC';

-- the version
SELECT version();

-- whether it is there
SELECT 1;

-- the schemas: has public
SELECT nspname AS TABLE_SCHEM, current_database() AS TABLE_CATALOG FROM pg_catalog.pg_namespace
WHERE nspname <> 'pg_toast' AND nspname !~ '^pg_temp_' ORDER BY TABLE_SCHEM;

-- the tables: has calls
SELECT current_database() AS "TABLE_CAT", n.nspname AS "TABLE_SCHEM", c.relname AS "TABLE_NAME", c.relkind AS kind
FROM pg_catalog.pg_namespace n, pg_catalog.pg_class c
WHERE c.relnamespace = n.oid AND n.nspname = 'public' AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
ORDER BY "TABLE_SCHEM", "TABLE_NAME";

-- the columns: has input_tokens
SELECT n.nspname, c.relname, a.attname, a.atttypid, a.attnotnull, a.atttypmod, a.attlen, a.attnum
FROM pg_catalog.pg_namespace n
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
WHERE n.nspname = 'public' AND c.relname = 'calls' AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY n.nspname, c.relname, a.attnum;

-- the columns, as Metabase asks: has caller
SELECT c.column_name AS name, c.udt_name AS database_type, c.table_schema AS table_schema, c.table_name AS table_name
FROM (SELECT column_name, data_type AS udt_name, table_schema, table_name FROM information_schema.columns) c
WHERE c.table_schema NOT IN ('information_schema', 'pg_catalog') AND c.table_name = 'calls';

-- primary keys
SELECT a.attname FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indrelid
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
WHERE i.indisprimary AND c.relname = 'calls';

-- the enumerations
SELECT nspname, typname FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
WHERE t.oid IN (SELECT DISTINCT enumtypid FROM pg_catalog.pg_enum e);

-- a first look at a table
SELECT "public"."calls"."caller" AS "caller", "public"."calls"."model" AS "model" FROM "public"."calls" LIMIT 10;

-- a fingerprint
SELECT count(*) AS "count", count(DISTINCT "source"."caller") AS "callers"
FROM (SELECT "public"."calls"."caller" AS "caller" FROM "public"."calls" LIMIT 10000) AS "source";
