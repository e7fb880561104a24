#!/usr/bin/env bash
# nats.sh NATS_PUB_SUB
# Two messages into a stream of a nats-server of its own, and out again in order.
set -euo pipefail
program=$1
server=$(command -v nats-server || echo /usr/sbin/nats-server)
[[ -x $server ]] || exit 77

work=$(mktemp -d)
"$server" -a 127.0.0.1 -p -1 --jetstream --store_dir "$work/js" --ports_file_dir "$work" \
  -l "$work/log" &
pid=$!
trap 'kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; rm -rf "$work"' EXIT
for _ in {1..100}; do
  ports=$(cat "$work"/*.ports 2>/dev/null || true)
  [[ $ports =~ nats://127\.0\.0\.1:[0-9]+ ]] && break
  sleep 0.1
done
url=${BASH_REMATCH[0]}

"$program" chat.lobby --server "$url" --stream CHAT hello | grep -qx 'kept as number 1'
"$program" chat.lobby --server "$url" --stream CHAT world | grep -qx 'kept as number 2'
"$program" chat.lobby --server "$url" "nobody hears this, and it is kept all the same"
"$program" chat.lobby --server "$url" --stream CHAT >"$work/heard" &
listener=$!
for _ in {1..100}; do
  [[ $(wc -l <"$work/heard") -ge 3 ]] && break
  sleep 0.1
done
kill -TERM "$listener"  # a shell lets what it runs beside itself ignore SIGINT
wait "$listener"
diff "$work/heard" - <<'END'
1 chat.lobby: hello
2 chat.lobby: world
3 chat.lobby: nobody hears this, and it is kept all the same
END
if "$program" chat.lobby --server nonsense: x 2>/dev/null; then
  echo "a malformed address was taken"
  exit 1
fi
