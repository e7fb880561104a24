#!/usr/bin/env bash
# Installs what is missing, builds the examples and starts the demo:  examples/demo.sh [arguments]
set -euo pipefail
rill=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$rill/tests/packages.sh"
install_packages "${packages_build[@]}"

# A build folder that is there already keeps its options.
if [[ ! -f $rill/build/release/build.ninja ]]; then
  (cd "$rill" && cmake --preset release -DRILL_BUILD_TESTS=OFF --log-level=WARNING)
fi
cmake --build "$rill/build/release" --target examples/all -j "$(nproc)"
exec "$rill/build/release/bin/demo" "$@"
