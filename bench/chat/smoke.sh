#!/usr/bin/env bash
# smoke.sh CHAT_SERVER CHAT_LOAD: does the load run? A second of it; its figures mean nothing.
set -euo pipefail
output=$(mktemp)
set -m  # job control: without it a background program ignores SIGINT
"$1" --port 0 --http-port 0 --rate 0 >"$output" </dev/null &
server=$!
trap 'kill -KILL "$server" 2>/dev/null || true; rm -f "$output"' EXIT

port=
for ((tenths = 0; tenths < 100 && ${#port} == 0; ++tenths)); do
  port=$(sed -n 's/^ready: chat 127.*:\([0-9]*\)$/\1/p' "$output")
  [[ -n $port ]] || sleep 0.1
done
"$2" --port "$port" --connections 50 --rate 100 --duration 1 | tee /dev/stderr | grep -q '^latency: '
kill -INT "$server"
wait "$server"
