#!/usr/bin/env bash
# Fuzzes:  tests/fuzz/run.sh [SECONDS=60] [TARGET ...]
# Installs what is missing, builds, and runs every target (or those named) that long, as many at
# once as there are cores. Each starts from the committed corpus in a copy of it, which stays under
# build/PRESET/fuzz with the logs and the findings. Ends with 1 if there is a finding.
# RILL_FUZZ_JOBS=N: N at once instead.
# RILL_FUZZ_PRESET=clang-asan: instead of clang-fuzz, a build with tests that has fuzzers too.
# RILL_FUZZ_SEED=N: the same inputs in the same order, as long as the code is the same.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source tests/packages.sh

seconds=60
if (($#)) && [[ $1 =~ ^[1-9][0-9]*$ ]]; then
  seconds=$1
  shift
fi
targets=("$@")
if ((${#targets[@]} == 0)); then
  for source in tests/fuzz/*_fuzz.cpp; do
    source=${source##*/}
    targets+=("${source%_fuzz.cpp}")
  done
fi
for target in "${targets[@]}"; do
  [[ -e tests/fuzz/${target}_fuzz.cpp ]] || {
    echo "rill: no target $target: there is no tests/fuzz/${target}_fuzz.cpp" >&2
    exit 2
  }
done

install_packages "${packages_build[@]}" "${packages_test[@]}" "${packages_clang[@]}"
werror=OFF
[[ -n ${CI:-} ]] && werror=ON
preset=${RILL_FUZZ_PRESET:-clang-fuzz}
cmake --preset "$preset" -DRILL_WERROR=$werror >/dev/null
cmake --build --preset "$preset" -j "$(nproc)"
jobs=${RILL_FUZZ_JOBS:-$(nproc)}

work=build/$preset/fuzz
mkdir -p "$work"

fuzz() {
  local target=$1 from=tests/fuzz/corpus/$1 here=$work/$1 more=()
  rm -rf "$here"
  mkdir -p "$here/corpus"
  if [[ -d $from ]]; then cp "$from"/* "$here/corpus"; fi
  if [[ -e tests/fuzz/$target.dict ]]; then more+=("-dict=tests/fuzz/$target.dict"); fi
  if [[ -n ${RILL_FUZZ_SEED:-} ]]; then more+=("-seed=$RILL_FUZZ_SEED"); fi
  "build/$preset/bin/${target}_fuzz" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=25 \
    -print_final_stats=1 -artifact_prefix="$here/" "${more[@]}" "$here/corpus" >"$here/log" 2>&1
}

report() {
  local target=$1 status=$2 log=$work/$1/log last executions
  # "#1234 DONE   cov: 567 ft: 890 corp: 12/345b lim: 67 exec/s: 89 rss: 10Mb"
  last=$(grep -a -E '^#[0-9]+.* cov: ' "$log" | tail -n 1) || true
  executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  printf '%-12s %11s executions %7s/s %6s edges %5s inputs' "$target" "${executions:-?}" \
    "$(sed -n 's/^stat::average_exec_per_sec: *//p' "$log")" \
    "$(sed -n 's/.* cov: \([0-9]*\).*/\1/p' <<<"$last")" \
    "$(sed -n 's/.* corp: \([0-9]*\).*/\1/p' <<<"$last")"
  if ((status == 0)); then
    printf '\n'
    return
  fi
  printf '  FOUND SOMETHING\n'
  grep -a -m 1 -A 12 -E '^not kept|^terminate called|ERROR|runtime error|assertion' "$log" || tail -n 20 "$log"
  local finding
  for finding in "$work/$target"/{crash,leak,timeout,oom}-*; do
    [[ -e $finding ]] || continue
    printf 'To repeat it:  build/%s/bin/%s_fuzz %s\n' "$preset" "$target" "$finding"
    printf 'To keep it:    cp %s tests/fuzz/corpus/%s/\n' "$finding" "$target"
  done
}

found=0
declare -A running=()
finish_one() {
  local pid status=0
  wait -n -p pid "${!running[@]}" || status=$?
  report "${running[$pid]}" "$status"
  unset "running[$pid]"
  ((status == 0)) || found=1
}
for target in "${targets[@]}"; do
  if ((${#running[@]} >= jobs)); then finish_one; fi
  fuzz "$target" &
  running[$!]=$target
done
while ((${#running[@]})); do finish_one; done
exit $found
