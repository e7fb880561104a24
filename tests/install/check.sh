#!/usr/bin/env bash
# check.sh CMAKE COMPILER BUILD SOURCE
# Installs BUILD into an empty prefix, moves that elsewhere, and builds and runs a consumer from it:
# by find_package, by pkg-config. Then has rill as a sub-project, which must offer libraries only.
set -euo pipefail
cmake=$1 compiler=$2 build=$3 source=$4
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$cmake" --install "$build" --prefix "$work/first" >/dev/null
mv "$work/first" "$work/prefix"
if grep -rlI -F -e "$build" -e "$source" "$work/prefix"; then
  echo "these installed files name the build"
  exit 1
fi

echo "== find_package"
configure=("$cmake" -G Ninja -S "$here/consumer" -DCMAKE_CXX_COMPILER="$compiler")
"${configure[@]}" -B "$work/package" -DCMAKE_PREFIX_PATH="$work/prefix"
"$cmake" --build "$work/package"
"$work/package/consumer"

echo "== pkg-config"
PKG_CONFIG_PATH=$(find "$work/prefix" -type d -name pkgconfig)
export PKG_CONFIG_PATH
for file in "$PKG_CONFIG_PATH"/*.pc; do
  pkg-config --cflags --libs "$(basename "$file" .pc)"
done
read -ra flags < <(pkg-config --cflags --libs rill-echo rill-sim rill-tls rill-smtp)
"$compiler" -std=c++20 "$here/consumer/main.cpp" "${flags[@]}" -o "$work/consumer"
"$work/consumer"

echo "== an unknown component is refused"
if "${configure[@]}" -B "$work/unknown" -DCMAKE_PREFIX_PATH="$work/prefix" \
  -DCOMPONENTS=telepathy >"$work/unknown.log" 2>&1; then
  echo "find_package(rill COMPONENTS telepathy) found something"
  exit 1
fi
grep -q 'no component telepathy' "$work/unknown.log"

echo "== add_subdirectory"
"${configure[@]}" -B "$work/subproject" -DRILL_SOURCE="$source"
"$cmake" --build "$work/subproject" -j "$(nproc)" --target consumer
"$work/subproject/consumer"
