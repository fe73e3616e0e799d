#!/bin/bash
# skip.sh REASON: prints that a check is skipped, and counts it for check.sh. Where CI is set, this
# fails unless permitted-skips.txt lists the reason; text after ": " is not compared.
set -euo pipefail
echo "SKIPPED: $1"
[[ -z ${UDOCKER_TEST_SKIPS-} ]] || echo "$1" >>"$UDOCKER_TEST_SKIPS"
[[ -z ${CI-} ]] || grep -qxF -- "${1%%: *}" "$(dirname "$0")/permitted-skips.txt" ||
	{ echo "This is not permitted where CI is set; see scripts/permitted-skips.txt" >&2; exit 1; }
