#!/bin/sh
# Prefect takes its secrets from the environment alone: files named PREFECT_* become variables of
# only the program that is started. Quicksilver reads its own files itself.
set -eu
secrets=${QUICKSILVER_SECRETS_DIR:-/run/secrets}
# Without its database's address Prefect would silently use a SQLite database of its own.
[ -d "$secrets" ] || { echo "with-secrets.sh: $secrets is no folder" >&2; exit 78; }
for file in "$secrets"/PREFECT_*; do
  [ -f "$file" ] || continue
  export "${file##*/}=$(cat "$file")"
done
exec "$@"
