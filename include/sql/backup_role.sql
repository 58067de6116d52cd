-- The role that backups connect as: it reads everything and owns nothing. Run once per server, as a superuser, in the
-- database to protect (psql 15 or newer reads the password from the environment, so that it is in no argument list):
--
--     BACKUP_PASSWORD=... psql -X -v ON_ERROR_STOP=1 -d shop -f include/sql/backup_role.sql
--
-- Postgres 14 to 18. Where tables have row level security, add BYPASSRLS: without it a backup stops with an error rather
-- than leave out rows.

\getenv backup_password BACKUP_PASSWORD

CREATE ROLE backup LOGIN PASSWORD :'backup_password';

-- All tables, views, sequences and schemas, those that are created later too.
GRANT pg_read_all_data TO backup;

-- Databases that were closed to the public.
GRANT CONNECT ON DATABASE :"DBNAME" TO backup;

-- Large objects: no privilege covers reading all of them, and grants go one by one. This setting lets the role read every
-- one, and also change it. Leave it out where there are none (SELECT count(*) FROM pg_largeobject_metadata).
ALTER ROLE backup SET lo_compat_privileges = on;

-- So that a mistake made as this role is an error (from Postgres 16, with large objects too). Someone who means it can
-- switch this off again: keep the password as secret as the data.
ALTER ROLE backup SET default_transaction_read_only = on;
