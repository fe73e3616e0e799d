#!/bin/bash
# Installs Python programs that tests run beside ours, of fixed versions, into a virtual
# environment: install-python.sh DIRECTORY PACKAGE==VERSION... Tests that need them are skipped
# aloud where they are missing.
set -euo pipefail

directory=$1; shift
[[ $(cat "$directory/installed" 2>/dev/null) != "$*" ]] || exit 0
/usr/bin/python3 -m venv "$directory"
"$directory/bin/pip" install --quiet "$@"
echo "$*" >"$directory/installed"
