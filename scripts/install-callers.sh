#!/bin/bash
# Installs the workflow engines that tests/callers runs, of fixed versions, into a virtual
# environment: install-callers.sh [DIRECTORY]. Without them those tests are skipped aloud.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

directory=${1:-${CARGO_TARGET_DIR:-target}/callers}
wanted="cwltool==3.3.20260925135507 miniwdl==1.16.0"
[[ $(cat "$directory/installed" 2>/dev/null) != "$wanted" ]] || exit 0
/usr/bin/python3 -m venv "$directory"
# shellcheck disable=SC2086 # two packages
"$directory/bin/pip" install --quiet $wanted
echo "$wanted" >"$directory/installed"
