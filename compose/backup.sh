#!/bin/sh
# Back up the ledger: one file, consistent, taken while the service runs.
#   PGHOST=… PGUSER=ledger PGDATABASE=ledger PGPASSWORD_FILE=… ./backup.sh FOLDER [KEEP]
# Any variable of libpq does. Writes FOLDER/ledger-<UTC time>.dump, keeps the newest KEEP (14).
# Events after the backup are not lost with the ledger: the first sweep after a restore finds in
# bronze whatever the ledger does not know.
set -eu
umask 077
folder=${1:?usage: backup.sh FOLDER [KEEP]}
keep=${2:-14}
# In the environment, never among the arguments: `ps` shows those to every user.
[ -z "${PGPASSWORD_FILE:-}" ] || { PGPASSWORD=$(cat "$PGPASSWORD_FILE"); export PGPASSWORD; }

mkdir -p "$folder"
target="$folder/ledger-$(date -u +%Y%m%dT%H%M%SZ).dump"
trap 'rm -f -- "$target.part"' EXIT
pg_dump --schema=quicksilver --format=custom --lock-wait-timeout=30s --file="$target.part"
# A backup that cannot be listed is useless.
pg_restore --list "$target.part" >/dev/null
mv "$target.part" "$target"
echo "$target"

# Names sort by time.
ls -1 "$folder" | grep '^ledger-.*\.dump$' | sort -r | tail -n +"$((keep + 1))" |
  while read -r old; do rm -f -- "$folder/$old"; done
