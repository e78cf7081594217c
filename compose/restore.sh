#!/bin/sh
# Restore the ledger from a backup, as its owner. Stop receivers, dispatcher and workers first.
#   PGHOST=… PGUSER=ledger PGDATABASE=ledger PGPASSWORD_FILE=… ./restore.sh FILE --yes
# All or nothing: it is one transaction. The present content of the ledger is replaced.
set -eu
file=${1:?usage: restore.sh FILE --yes}
[ "${2:-}" = --yes ] || {
  echo "restore.sh: this replaces the ledger; say --yes after the file's name" >&2
  exit 2
}
[ -z "${PGPASSWORD_FILE:-}" ] || { PGPASSWORD=$(cat "$PGPASSWORD_FILE"); export PGPASSWORD; }

others=$(psql --no-psqlrc --tuples-only --no-align --command="
  select count(*) from pg_stat_activity
  where datname = current_database() and pid <> pg_backend_pid()
    and application_name like 'quicksilver%'")
[ "$others" = 0 ] || {
  echo "restore.sh: $others sessions of the service are open: stop it first" >&2
  exit 1
}
# Whole before anything is touched: a pipe would hide that the file ends too early.
script=$(mktemp)
trap 'rm -f -- "$script"' EXIT
{
  echo 'drop schema if exists quicksilver cascade;'
  pg_restore --no-owner --file=- "$file"
} >"$script"
# Prefect knows the runs that the old ledger asked for since the backup: with a new identity in its
# keys, the restored ledger does not mistake them for its own.
cat >>"$script" <<'SQL'
do $$
begin
    if to_regclass('quicksilver.identity') is not null then
        update quicksilver.identity set id = gen_random_uuid(), made_at = now();
    end if;
end
$$;
SQL
psql --no-psqlrc --quiet --single-transaction --set=ON_ERROR_STOP=1 --file="$script" >/dev/null
echo "restored $file: start the service; its first sweep finds what came after the backup"
