#!/bin/bash
# Checks the form of the decision records: heading, date and status, all sections, a row in the
# index, and links to existing records.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../docs/decisions"

failed=0
complain() { echo "docs/decisions/$1: $2" >&2; failed=1; }
for record in [0-9]*.md; do
	number=${record%%-*}
	grep -q "^# $number\. " "$record" || complain "$record" "the heading is not '# $number. Title'"
	grep -qE '^Date: [0-9-]{10}\. Status: (accepted|replaced by [0-9]{4})\b.*\.$' "$record" ||
		complain "$record" "there is no line 'Date: YYYY-MM-DD. Status: accepted|replaced by NNNN.'"
	sections=$(grep '^## ' "$record" | tr '\n' ' ')
	[[ $sections == '## Context ## Choice ## Consequences ## Turned down ' ]] || complain "$record" "sections: $sections"
	grep -qF "| [$number]($record) | " README.md || complain "$record" "README.md does not list it"
	for other in $(sed -n 's/^Date: .* Status: //p' "$record" | grep -oE '\b[0-9]{4}\b'); do
		compgen -G "$other-*.md" >/dev/null || complain "$record" "there is no record $other"
	done
done
exit "$failed"
