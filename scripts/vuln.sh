#!/usr/bin/env bash
# Looks for known vulnerabilities in what the binary calls. Where the database cannot be reached it says so
# and passes: a build must not depend on someone else's server, and nobody must read silence as a clean bill.
set -euo pipefail
cd "$(dirname "$0")/.."
set +e
out=$(go tool -modfile=tools.mod govulncheck ./cmd/palisade 2>&1)
code=$?
set -e
if [ "$code" -ne 0 ] && grep -qE 'vuln\.go\.dev|fetching vulnerabilities|dial tcp|no such host|HTTP GET|Forbidden' <<<"$out" && ! grep -q 'Vulnerability #' <<<"$out"; then
	echo "vuln: NOT CHECKED: the vulnerability database cannot be reached from here"
	exit 0
fi
echo "$out"
exit "$code"
