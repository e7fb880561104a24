#!/usr/bin/env bash
# check.sh COMPILER ROOT[:ROOT...] --own HEADER... --refused HEADER...
# With these include roots each own header is found and each refused one is not.
set -euo pipefail
compiler=$1
IFS=: read -ra roots <<<"$2"
shift 2

found() {
  printf '#if !__has_include(<%s>)\n#error absent\n#endif\n' "$1" |
    "$compiler" -std=c++20 "${roots[@]/#/-I}" -fsyntax-only -x c++ - 2>/dev/null
}

kind='' status=0 count=0
for argument in "$@"; do
  case $argument in
    --own | --refused) kind=$argument && continue ;;
  esac
  if [[ $kind == --own ]]; then
    found "$argument" || { echo "<$argument> is not found from its own room" && status=1; }
  else
    ! found "$argument" || { echo "<$argument> is found from a room below it" && status=1; }
  fi
  ((++count))
done
echo "$count headers tried"
exit $status
