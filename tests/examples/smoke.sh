#!/usr/bin/env bash
# smoke.sh PROGRAM [ARGUMENT...]
# Starts the program. It ends by itself with 0, or writes "ready: ..." and ends with 0 on SIGINT.
set -uo pipefail
output=$(mktemp)
set -m  # job control: without it a background program ignores SIGINT
"$@" >"$output" 2>&1 </dev/null &
program=$!
trap 'kill -KILL "$program" 2>/dev/null; rm -f "$output"' EXIT

# wait_until SECONDS COMMAND...: polls the command; fails when the time is over.
wait_until() {
  local tenths=$(($1 * 10))
  shift
  until "$@"; do
    ((tenths-- > 0)) || return 1
    sleep 0.1
  done
}
ended() { ! kill -0 "$program" 2>/dev/null; }
ready_or_ended() { ended || grep -q '^ready: ' "$output"; }

if ! wait_until 30 ready_or_ended; then
  echo "neither ended nor said ready: within 30 s"
elif ! ended && kill -INT "$program" && ! wait_until 15 ended; then
  echo "did not end within 15 s of SIGINT"
fi
ended || kill -KILL "$program"
wait "$program"
status=$?
cat "$output"
exit $status
