#!/usr/bin/env bash
# client.sh CLIENT SERVER
# Starts the server on any free port, sends it a message with the client, expects the same back.
set -uo pipefail
client=$1 server=$2
output=$(mktemp)
set -m  # job control: without it a background program ignores SIGINT
"$server" --port 0 >"$output" 2>&1 </dev/null &
program=$!
trap 'kill -KILL "$program" 2>/dev/null; rm -f "$output"' EXIT

for ((tenths = 0; tenths < 100; ++tenths)); do
  port=$(sed -n 's/^ready: .*:\([0-9]*\)$/\1/p' "$output" | head -n 1)
  [[ -n $port ]] && break
  sleep 0.1
done

fail() {
  echo "$1"
  cat "$output"
  exit 1
}
reply=$("$client" localhost "$port" "hello, rill" 2>&1) || fail "the client failed: $reply"
[[ $reply == "hello, rill" ]] || fail "the reply was: $reply"
kill -INT "$program"
wait "$program" || fail "the server ended with $?"
