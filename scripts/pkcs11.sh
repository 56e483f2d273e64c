#!/usr/bin/env bash
# Tests signing with a real PKCS#11 token, SoftHSM2. It is the only part of the product that needs cgo, so it has
# a run of its own; where there is no C compiler it says so.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v "${CC:-gcc}" >/dev/null; then
	echo "pkcs11: NOT TESTED: no C compiler"
	exit 0
fi
scripts/deps.sh
CGO_ENABLED=1 go vet -tags pkcs11 ./keyring/pkcs11
CGO_ENABLED=1 go test -race -tags pkcs11 ./keyring/pkcs11
