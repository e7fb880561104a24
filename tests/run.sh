#!/usr/bin/env bash
# Installs what is missing, builds, and runs every test:  tests/run.sh [PRESET] [ctest arguments]
# For example  tests/run.sh asan -R tcp . The presets stand in CMakePresets.json.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tests/packages.sh

preset=release
if (($#)) && [[ $1 != -* ]]; then
  preset=$1
  shift
fi
case $preset in
  clang-*) install_packages "${packages_build[@]}" "${packages_test[@]}" "${packages_clang[@]}" ;;
  *) install_packages "${packages_build[@]}" "${packages_test[@]}" ;;
esac

werror=OFF
[[ -n ${CI:-} ]] && werror=ON
# All of it, whatever .ci/run has built in this folder.
cmake --preset "$preset" -DRILL_BUILD_TESTS=ON -DRILL_INSTALL=ON -DRILL_WERROR=$werror \
  -DRILL_BUILD_EXAMPLES=ON -DRILL_TEST_FOLDERS= -DRILL_TEST_ROOMS= \
  -DRILL_BUILD_FUZZERS="${RILL_BUILD_FUZZERS:-OFF}"
cmake --build --preset "$preset" -j "$(nproc)"
ctest --preset "$preset" -j 2 "$@"
