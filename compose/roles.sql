-- Databases and roles of the stack; run by psql as the administrator, as often as you like.
-- The passwords are in the environment, not among psql's arguments, which `ps` shows to every user:
-- PREFECT_PASSWORD, LEDGER_PASSWORD, LEDGER_SERVICE_PASSWORD, WAREHOUSE_PASSWORD,
-- WAREHOUSE_SETTLER_PASSWORD, WAREHOUSE_READER_PASSWORD.
--
-- role                 may
-- prefect              own the database prefect; nothing elsewhere
-- ledger               own the ledger: migrations, backups; used by no process that runs on
-- ledger_service       change the ledger's rows: receivers, dispatcher, flow runs
-- warehouse            own the warehouse: flow runs, which make and fill its tables
-- warehouse_settler    decide about builds that died: the dispatcher; reads no trip
-- warehouse_reader     read silver and gold: analysts, dashboards
\set ON_ERROR_STOP on
\set QUIET on
\getenv prefect_password PREFECT_PASSWORD
\getenv ledger_password LEDGER_PASSWORD
\getenv ledger_service_password LEDGER_SERVICE_PASSWORD
\getenv warehouse_password WAREHOUSE_PASSWORD
\getenv warehouse_settler_password WAREHOUSE_SETTLER_PASSWORD
\getenv warehouse_reader_password WAREHOUSE_READER_PASSWORD
set client_min_messages = warning;

-- The passwords pass through no statement that a log would show.
set log_statement = 'none';
set log_min_duration_statement = -1;
set log_min_error_statement = 'panic';

select format('create role %I login', name)
from unnest(array[
    'prefect', 'ledger', 'ledger_service',
    'warehouse', 'warehouse_settler', 'warehouse_reader'
]) as name
where not exists (select from pg_roles where rolname = name)
\gexec

alter role prefect login password :'prefect_password';
alter role ledger login password :'ledger_password';
alter role ledger_service login password :'ledger_service_password';
alter role warehouse login password :'warehouse_password';
alter role warehouse_settler login password :'warehouse_settler_password';
alter role warehouse_reader login password :'warehouse_reader_password';

select format('create database %I owner %I', name, name)
from unnest(array['prefect', 'ledger', 'warehouse']) as name
where not exists (select from pg_database where datname = name)
\gexec

revoke all on database prefect, ledger, warehouse from public;
grant connect on database ledger to ledger_service;
grant connect on database warehouse to warehouse_settler, warehouse_reader;

-- It ends the sessions of builds that were given up, which are the owner's.
grant pg_signal_backend to warehouse_settler;
-- They say which session holds the lock that a build waits for, and by which statement.
grant pg_read_all_stats to warehouse, warehouse_settler;

\connect prefect
set client_min_messages = warning;
create extension if not exists pg_trgm;

\connect ledger
set client_min_messages = warning;
create schema if not exists quicksilver authorization ledger;
grant usage on schema quicksilver to ledger_service;
-- For what is there, and for what later migrations make.
grant select, insert, update, delete on all tables in schema quicksilver to ledger_service;
alter default privileges for role ledger in schema quicksilver
    grant select, insert, update, delete on tables to ledger_service;
-- Build ids are raised past those that a used warehouse knows.
grant usage, select, update on all sequences in schema quicksilver to ledger_service;
alter default privileges for role ledger in schema quicksilver
    grant usage, select, update on sequences to ledger_service;

\connect warehouse
set client_min_messages = warning;
create schema if not exists quicksilver authorization warehouse;
create schema if not exists silver authorization warehouse;
create schema if not exists gold authorization warehouse;
grant usage on schema quicksilver to warehouse_settler;
grant select, insert, update on all tables in schema quicksilver to warehouse_settler;
alter default privileges for role warehouse in schema quicksilver
    grant select, insert, update on tables to warehouse_settler;
grant usage on schema silver, gold to warehouse_reader;
grant select on all tables in schema silver, gold to warehouse_reader;
alter default privileges for role warehouse in schema silver grant select on tables to warehouse_reader;
alter default privileges for role warehouse in schema gold grant select on tables to warehouse_reader;
