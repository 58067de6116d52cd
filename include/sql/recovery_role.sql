-- The role of `recovery.connection`: it replaces the live database by a restored copy, and brings rows back. Run once per
-- server, as a superuser (psql 15 or newer); `owner` is the role that owns the database and what is in it, and the last
-- line is repeated for each role that owns some of it:
--
--     RECOVERY_PASSWORD=... psql -X -v ON_ERROR_STOP=1 -v owner=shop_owner -d shop -f include/sql/recovery_role.sql
--
-- As powerful as the owner. What only superusers may create (some extensions), and sessions of superusers, which stand in
-- the way of the exchange, need a superuser instead.

\getenv recovery_password RECOVERY_PASSWORD

-- Makes the copy beside the live database, and renames both.
CREATE ROLE recovery LOGIN CREATEDB PASSWORD :'recovery_password';

-- Ends the sessions of the live database.
GRANT pg_signal_backend TO recovery;

-- Renames what the owner owns, makes it the owner of the copy, and writes rows.
GRANT :"owner" TO recovery;
