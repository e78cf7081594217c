#!/bin/sh
# Run once by the image, as its administrator, when the data folder is made.
set -eu
for role in prefect ledger ledger_service warehouse warehouse_settler warehouse_reader; do
  name=$(echo "$role" | tr '[:lower:]' '[:upper:]')_PASSWORD
  export "$name=$(cat "/run/secrets/${role}_password")"
done
psql --no-psqlrc --file=/etc/quicksilver/roles.sql
