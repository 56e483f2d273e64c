#!/usr/bin/env bash
# Installs the Debian packages that tests need, if they are missing. Versions are those of the Debian release
# (bookworm); tools in Go are pinned in tools.mod, the S3-compatible server of tests is pinned below. Programs in JavaScript come from npm, pinned by their package-lock.json.
set -euo pipefail
packages=(gcc libc6-dev slowhttptest nghttp2-client softhsm2 nftables iproute2 postgresql redis-server redis-tools nginx curl rsyslog rsyslog-gnutls prometheus chromium patch systemd)
command -v npm >/dev/null || packages+=(npm)
missing=()
for p in "${packages[@]}"; do
	dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'install ok installed' || missing+=("$p")
done
if [ ${#missing[@]} -gt 0 ]; then
	sudo=""
	[ "$(id -u)" -eq 0 ] || sudo=sudo
	# Tests start their own PostgreSQL; the package need not make and start one for the whole machine.
	if [[ " ${missing[*]} " == *" postgresql "* ]] && [ ! -e /etc/postgresql-common/createcluster.conf ]; then
		$sudo mkdir -p /etc/postgresql-common
		echo 'create_main_cluster = false' | $sudo tee /etc/postgresql-common/createcluster.conf >/dev/null
	fi
	$sudo apt-get update -qq
	DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi
for dir in store/segment/foreign console/browser; do
	dir="$(dirname "$0")/../$dir"
	if ! cmp -s "$dir/package-lock.json" "$dir/node_modules/installed"; then
		npm ci --prefix "$dir" --ignore-scripts --no-audit --no-fund --silent
		cp "$dir/package-lock.json" "$dir/node_modules/installed"
	fi
done
# A server of object storage for tests, over a folder: two minutes of one processor, once.
versity="$(cd "$(dirname "$0")/.." && pwd)/bin/versitygw-v1.8.0"
if [ ! -x "$versity/versitygw" ]; then
	GOBIN="$versity" CGO_ENABLED=0 GOFLAGS=-trimpath go install "github.com/versity/versitygw/cmd/versitygw@${versity##*-}"
fi
