#!/bin/sh
# The worker, and beside it the warm engine that its runs are forked from. The worker is the
# container's main program: when it ends, the container does, and is started again. The engine is
# started again here; without it runs start the stock way, seconds later.
#   worker.sh NAME LIMIT
set -eu
name=${1:?usage: worker.sh NAME LIMIT} limit=${2:?usage: worker.sh NAME LIMIT}
umask 077
mkdir -p "$QUICKSILVER_HOME/run"
(
  # Ends with the worker, whose process this shell becomes.
  worker=$$
  while kill -0 "$worker" 2>/dev/null; do
    python -m quicksilver.engine.server || true
    sleep 1
  done
) &
exec python -m quicksilver.worker --name "$name" --pool default --limit "$limit" --with-healthcheck
