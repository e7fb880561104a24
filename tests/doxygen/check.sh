#!/usr/bin/env bash
# check.sh DOXYFILE
# The public headers as Doxygen reads them: nothing in a docstring that it cannot read or find, and
# no public class without one. Members whose names say it all need none. Skipped without Doxygen.
set -uo pipefail
command -v doxygen >/dev/null || exit 77
output=$(doxygen "$1" 2>&1) || { echo "$output" && exit 1; }
warnings=$(grep -Ev '^$|: warning: Member .* is not documented\.$' <<<"$output")
[[ -z $warnings ]] || { echo "$warnings" && exit 1; }
