#!/usr/bin/env bash
# check.sh SNIPPET COMPILER FLAG...
# The snippet is refused with the diagnostic that its first line names, an extended regular
# expression; with -DALLOWED it compiles, so that nothing else is the matter with it. What only
# clang refuses begins with `// refused by clang:`.
set -euo pipefail
snippet=$1
shift

expected=$(sed -nE '1s|^// refused( by clang)?: ||p' "$snippet")
if [[ -z $expected ]]; then
  echo "$snippet: its first line must read // refused: and what the compiler says"
  exit 1
fi
if ! "$@" -Werror -fsyntax-only -x c++ -DALLOWED "$snippet"; then
  echo "$snippet: refused although ALLOWED is defined"
  exit 1
fi
if [[ $(head -n 1 "$snippet") == *'by clang:'* ]] && ! "$1" --version | grep -q clang; then
  echo "$snippet: only clang can say it"
  exit 0
fi
if output=$(LC_ALL=C "$@" -Werror -fsyntax-only -x c++ "$snippet" 2>&1); then
  echo "$snippet: not refused"
  exit 1
fi
if ! grep -Eq -- "$expected" <<<"$output"; then
  printf '%s\n%s\n' "$output" "$snippet: refused, but not with: $expected"
  exit 1
fi
