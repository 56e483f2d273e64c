#!/usr/bin/env bash
# Measures the store of events beside SQLite with FTS5: what taking events costs, and the queries of the console as the store
# grows, and over segments in a bucket; writes the figures into docs/performance.md, with their chart. It needs Go, versitygw (make deps; without it the
# bucket is left out), 20 GB of disk, and most of an hour. SQLite takes part up to a million events. Arguments go to the benchmark (-sizes 1000000 is one
# million alone, -sqlite-to 10000000 lets SQLite have ten). With QUICK=1 everything is small, figures are printed, and docs/ is left
# alone.
set -euo pipefail
cd "$(dirname "$0")/.."
export CGO_ENABLED=0
out=build/bench-events
mkdir -p "$out"
go build -trimpath -o build/benchmark ./bench
if [ "${QUICK:-}" = 1 ]; then
	exec build/benchmark -events -out "$out" -rounds 5 -sizes 20000,100000 "$@"
fi
build/benchmark -events -out "$out" -rounds 15 "$@"

# The tables go between the markers; the figures and the chart beside them.
awk -v table="$out/events.md" '
	/<!-- events figures: begin/ { print; print ""; while ((getline line < table) > 0) print line; print ""; skip = 1; next }
	/<!-- events figures: end/ { skip = 0 }
	!skip' docs/performance.md >"$out/performance.md"
cp "$out/performance.md" docs/performance.md
cp "$out/events.svg" docs/performance-events.svg
cp "$out/events.json" bench/events.json
