#!/bin/sh
# Make the Secrets from ../secrets. A worker of a Kubernetes pool may make Jobs, and a Job reads any
# Secret of its namespace: no administrator's password of Postgres or MinIO is among them, and the
# databases' owners are in a Secret of their own, for `prepare`. When that is done:
#   kubectl delete secret quicksilver-prepare --namespace quicksilver
set -eu
cd "$(dirname "$0")/../secrets"

make() {
  name=$1
  shift
  for key in "$@"; do
    set -- "$@" "--from-file=$key"
    shift
  done
  kubectl create secret generic "$name" --namespace quicksilver "$@"
}

make quicksilver ledger_service_url warehouse_url warehouse_settler_url \
  reader_access_key reader_secret_key writer_access_key writer_secret_key \
  webhook_tokens operator_tokens metrics_token prefect_auth
make quicksilver-prepare ledger_url warehouse_url prefect_auth
