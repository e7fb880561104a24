#!/usr/bin/env bash
# Which lines and branches the tests run:  tests/coverage.sh [ctest arguments]
# Builds a preset of its own, runs every test, prints a table by file and by room, and writes the
# sources with their counts to build/coverage/html. Exit code 1 if a test fails, or if less than 95 %
# of the lines of runtime, net or protocols ran (with arguments: of what those tests run).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tests/packages.sh
install_packages "${packages_build[@]}" "${packages_test[@]}" "${packages_clang[@]}" llvm-19

build=build/coverage
profile=$build/profile/all.profdata
cmake --preset coverage -DRILL_BUILD_TESTS=ON -DRILL_BUILD_EXAMPLES=ON
cmake --build --preset coverage -j "$(nproc)"

rm -rf $build/profile $build/html  # counters of an earlier run would be added to
failed=0
ctest --preset coverage -j 2 "$@" || failed=1
llvm-profdata-19 merge -o $profile $build/profile/*.profraw

report() {
  local programs=($build/bin/*)
  local objects=("${programs[@]/#/-object=}")
  llvm-cov-19 show "${programs[0]}" "${objects[@]:1}" -instr-profile=$profile \
    -format=html -output-dir=$build/html -show-branches=count -show-instantiations=false \
    -project-title=rill -sources "$PWD"/{runtime,net,protocols}
  echo
  tests/coverage/report.py . $profile $build/uncovered.txt 95 "${programs[@]}"
}
# A function of a header that one program calls and another does not has no counters in the other,
# and llvm-cov says so of each. They do not matter: it takes those of the first.
report 2> >(grep -v "functions have mismatched data" >&2) || failed=1
printf '\nlines that did not run: %s\nsources with counts: %s\n' \
  $build/uncovered.txt $build/html/index.html
exit $failed
