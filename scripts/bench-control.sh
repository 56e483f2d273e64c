#!/usr/bin/env bash
# Measures control: identities issued, a changed model pushed to connected proxies, and how it grows with the fleet; writes the
# figures into docs/performance.md, with their chart. It needs Go alone, and about a quarter of an hour. Arguments go to the
# benchmark. With QUICK=1 everything is small, figures are printed, and docs/ is left alone.
set -euo pipefail
cd "$(dirname "$0")/.."
export CGO_ENABLED=0
out=build/bench-control
mkdir -p "$out"
go build -trimpath -o build/benchmark ./bench
if [ "${QUICK:-}" = 1 ]; then
	exec build/benchmark -control -out "$out" -rounds 1 -scale 0.05 "$@"
fi
build/benchmark -control -out "$out" -rounds 5 "$@"

# The tables go between the markers; the figures and the chart beside them.
awk -v table="$out/control.md" '
	/<!-- control figures: begin/ { print; print ""; while ((getline line < table) > 0) print line; print ""; skip = 1; next }
	/<!-- control figures: end/ { skip = 0 }
	!skip' docs/performance.md >"$out/performance.md"
cp "$out/performance.md" docs/performance.md
cp "$out/control.svg" docs/performance-control.svg
cp "$out/control.json" bench/control.json
