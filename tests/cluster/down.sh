#!/usr/bin/env bash
# Ends what up.sh started, and removes what it kept.
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=target/cluster
process="$folder/process"
if [[ -e $process ]]; then
  id=$(cat "$process")
  kill "$id" 2>/dev/null || true
  for ((waited = 0; waited < 200; waited++)); do
    kill -0 "$id" 2>/dev/null || break
    sleep 0.2
  done
  kill -KILL "$id" 2>/dev/null || true
fi
rm -rf "$folder"
