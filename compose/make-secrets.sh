#!/bin/sh
# Make every secret of the stack, once: what is there already stays. Each is a file in secrets/,
# which git does not see; a container gets the ones that compose.yaml gives it, and no others.
set -eu
cd "$(dirname "$0")"
mkdir -p secrets
chmod 700 secrets
cd secrets

random() { od -An -tx1 -N"${1:-24}" /dev/urandom | tr -d ' \n'; }
# Readable by a container's own user: a file is mounted alone, with its mode; the folder is closed.
keep() { [ -e "$1" ] || { (umask 022 && printf '%s' "$2" >"$1.part") && mv "$1.part" "$1"; }; }
have() { cat "$1"; }

for role in postgres prefect ledger ledger_service warehouse warehouse_settler warehouse_reader; do
  keep "${role}_password" "$(random)"
done
for user in reader writer minio_root; do
  keep "${user}_access_key" "$user-$(random 4)"
  keep "${user}_secret_key" "$(random)"
done
keep webhook_tokens "$(random),$(random)"
keep metrics_token "$(random)"
keep operator_tokens "$(random)"
keep grafana_password "$(random)"
keep prefect_auth "quicksilver:$(random)"
keep valkey_password "$(random)"
keep valkey.conf "requirepass $(have valkey_password)
"

database() { printf 'postgresql%s://%s:%s@postgres:5432/%s' "$1" "$2" "$(have "$2_password")" "$3"; }
keep ledger_url "$(database '' ledger ledger)"
keep ledger_service_url "$(database '' ledger_service ledger)"
keep warehouse_url "$(database '' warehouse warehouse)"
keep warehouse_settler_url "$(database '' warehouse_settler warehouse)"
keep prefect_database_url "$(database '+asyncpg' prefect prefect)"
keep prefect_messaging_url "redis://:$(have valkey_password)@valkey:6379/0"
keep prefect_docket_url "redis://:$(have valkey_password)@valkey:6379/1"
echo "secrets are in $PWD"
