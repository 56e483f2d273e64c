#!/usr/bin/env bash
# Measures one hop of a mesh, through both sidecars, beside nginx and HAProxy with mutual TLS on both ends, and writes the
# figures into docs/performance.md, with their chart. Arguments go to the benchmark; see `go run ./bench -h`. With
# QUICK=1 it takes a minute, prints, and leaves docs/ alone.
set -euo pipefail
cd "$(dirname "$0")/.."
export CGO_ENABLED=0
out=build/bench-hop
mkdir -p "$out"

missing=()
for p in nginx haproxy; do
	dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'install ok installed' || missing+=("$p")
done
if [ ${#missing[@]} -gt 0 ]; then
	sudo=""
	[ "$(id -u)" -eq 0 ] || sudo=sudo
	$sudo apt-get update -qq
	DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi

go build -trimpath -o build/palisade ./cmd/palisade
go build -trimpath -o build/benchmark ./bench
if [ "${QUICK:-}" = 1 ]; then
	exec build/benchmark -hop -bin build -out "$out" -rounds 2 -scale 0.2 "$@"
fi
build/benchmark -hop -bin build -out "$out" "$@"

# The table goes between the markers; the figures and the chart beside it.
awk -v table="$out/table.md" '
	/<!-- hop figures: begin/ { print; print ""; while ((getline line < table) > 0) print line; print ""; skip = 1; next }
	/<!-- hop figures: end/ { skip = 0 }
	!skip' docs/performance.md >"$out/performance.md"
cp "$out/performance.md" docs/performance.md
cp "$out/performance.svg" docs/performance-hop.svg
cp "$out/results.json" bench/results-hop.json
