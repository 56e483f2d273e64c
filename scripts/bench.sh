#!/usr/bin/env bash
# Measures Palisade beside nginx, nginx + ModSecurity + Core Rule Set, Coraza behind net/http, and Caddy, and
# writes the figures into docs/performance.md, with their chart. Arguments go to the benchmark; see
# `go run ./bench -h`. With QUICK=1 it takes a minute, prints, and leaves docs/ alone.
set -euo pipefail
cd "$(dirname "$0")/.."
export CGO_ENABLED=0
out=build/bench
mkdir -p "$out"

missing=()
for p in nginx libnginx-mod-http-modsecurity; do
	dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'install ok installed' || missing+=("$p")
done
if [ ${#missing[@]} -gt 0 ]; then
	sudo=""
	[ "$(id -u)" -eq 0 ] || sudo=sudo
	$sudo apt-get update -qq
	DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi

go build -trimpath -o build/palisade ./cmd/palisade
go build -trimpath -o build/corazaproxy ./bench/corazaproxy
go build -trimpath -o build/benchmark ./bench
# Caddy has a module file of its own, so that the product's stays clean. It takes minutes, once.
caddy=github.com/caddyserver/caddy/v2
version=$(awk -v m="$caddy" '$1 == m {print $2}' bench/peers.mod)
if [ ! -x build/caddy ] || [ "$(cat build/caddy.version 2>/dev/null)" != "$version" ]; then
	if go build -modfile=bench/peers.mod -trimpath -ldflags "-X $caddy.CustomVersion=$version" -o build/caddy "$caddy/cmd/caddy"; then
		echo "$version" >build/caddy.version
	else
		rm -f build/caddy
		echo "bench: Caddy could not be built and is left out" >&2
	fi
fi

rules=$(go list -m -f '{{.Dir}}' github.com/corazawaf/coraza-coreruleset/v4)/rules
if [ "${QUICK:-}" = 1 ]; then
	exec build/benchmark -bin build -rules "$rules" -out "$out" -rounds 2 -scale 0.1 "$@"
fi
build/benchmark -bin build -rules "$rules" -out "$out" "$@"

# The table goes between the markers; the figures and the chart beside it.
awk -v table="$out/table.md" '
	/<!-- figures: begin/ { print; print ""; while ((getline line < table) > 0) print line; print ""; skip = 1; next }
	/<!-- figures: end/ { skip = 0 }
	!skip' docs/performance.md >"$out/performance.md"
cp "$out/performance.md" docs/performance.md
cp "$out/performance.svg" docs/performance.svg
cp "$out/results.json" bench/results.json
