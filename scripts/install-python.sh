#!/bin/bash
# Installs Python programs that the tests run, at fixed versions, into a virtual environment:
# install-python.sh DIRECTORY PACKAGE==VERSION... Without them, the tests that need them report that
# they are skipped.
set -euo pipefail

directory=$1; shift
[[ $(cat "$directory/installed" 2>/dev/null) != "$*" ]] || exit 0
/usr/bin/python3 -m venv "$directory"
"$directory/bin/pip" install --quiet "$@"
echo "$*" >"$directory/installed"
