#!/usr/bin/env bash
# Runs every fuzz target of the module for the given time each and prints how much it executed.
# A target that executes nothing is a failure: it would pass while fuzzing nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-10s}
count=0
out=$PWD/build/fuzz
mkdir -p "$out"
found=$(go env GOCACHE)/fuzz

# build makes the instrumented test program of a package, once for all its targets.
built=
build() {
	[ "$built" != "$1" ] || return 0
	go test -c -fuzz . -o "$out/fuzz.test" "$1"
	built=$1
}

# run fuzzes one target for a time and sets execs to what it executed. Up to Go 1.26 the fuzzer may report the end of its own
# time as a failure, without an input that fails (go.dev/issue/75804): then it runs again, at most three times.
run() {
	for try in 1 2 3; do
		said=$(cd "$1" && "$out/fuzz.test" -test.run '^$' -test.fuzz "^$2\$" -test.fuzztime "$3" -test.fuzzminimizetime 10x \
			-test.fuzzcachedir "$found/$1" -test.timeout 10m 2>&1) && break
		if [ "$try" -eq 3 ] || grep -q 'Failing input written' <<<"$said" || ! grep -q '^    context deadline exceeded$' <<<"$said"; then
			echo "$said"; echo "fuzz: $1 $2 failed"; exit 1
		fi
	done
	execs=$(grep -oE 'execs: [0-9]+' <<<"$said" | tail -n 1 | grep -oE '[0-9]+' || echo 0)
}

while IFS=: read -r file target; do
	dir=./$(dirname "$file")
	build "$dir"
	run "$dir" "$target" "$time"
	# On a busy machine the first seconds may all go into the seeds: give it one longer chance.
	[ "$execs" -gt 0 ] || run "$dir" "$target" 60s
	if [ "$execs" -eq 0 ]; then echo "$said"; echo "fuzz: $dir $target executed nothing"; exit 1; fi
	echo "fuzz: $dir $target: $execs executions"
	count=$((count + 1))
done < <(git grep -oE '^func (Fuzz[A-Za-z0-9_]+)' -- '*_test.go' | sed 's/:func /:/' | sort)
[ "$count" -gt 0 ] || { echo "fuzz: no target found"; exit 1; }
echo "fuzz: $count targets"
