#!/usr/bin/env bash
# Starts a control plane with chathooks on it in target/cluster and says how to use it: up.sh. down.sh ends it.
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=target/cluster
process="$folder/process"
# Long enough for a machine that builds something else at the same time.
patience=180

mkdir -p "$folder"
if [[ -e $process ]] && kill -0 "$(cat "$process")" 2>/dev/null; then
  cat "$folder/said.txt"
  exit
fi
CHATHOOKS_TEST_CONTROL_PLANE="$(tests/cluster/build.sh)"
export CHATHOOKS_TEST_CONTROL_PLANE
program=$(cargo test --locked --quiet --test cluster --no-run --message-format json |
  sed -n 's/.*"executable":"\([^"]*\/deps\/cluster-[^"]*\)".*/\1/p' | tail -n 1)
[[ -x $program ]] || { echo 'the cluster was not built' >&2; exit 1; }

setsid "$program" "$folder/data" >"$folder/said.txt" 2>"$folder/errors.log" </dev/null &
echo $! >"$process"
for ((waited = 0; waited < patience * 5; waited++)); do
  if grep -q 'cluster-down' "$folder/said.txt"; then
    cat "$folder/said.txt"
    exit
  fi
  if ! kill -0 "$(cat "$process")" 2>/dev/null; then
    cat "$folder/errors.log" >&2
    exit 1
  fi
  sleep 0.2
done
echo "the cluster did not come up within $patience s; see $folder/errors.log and $folder/data" >&2
exit 1
