#!/usr/bin/env bash
# Runs every fuzz target of the module for the given time each and prints how much it executed.
# A target that executes nothing is a failure: it would pass while fuzzing nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-10s}
count=0
# run fuzzes one target for a time and sets execs to what it executed. Up to Go 1.26 the fuzzer may report the end of its own
# time as a failure, without an input that fails (go.dev/issue/75804): then it runs again, at most three times.
run() {
	for try in 1 2 3; do
		out=$(go test "$1" -run '^$' -fuzz "^$2\$" -fuzztime "$3" -fuzzminimizetime 10x 2>&1) && break
		if [ "$try" -eq 3 ] || grep -q 'Failing input written' <<<"$out" || ! grep -q '^    context deadline exceeded$' <<<"$out"; then
			echo "$out"; echo "fuzz: $1 $2 failed"; exit 1
		fi
	done
	execs=$(grep -oE 'execs: [0-9]+' <<<"$out" | tail -n 1 | grep -oE '[0-9]+' || echo 0)
}

while IFS=: read -r file target; do
	dir=./$(dirname "$file")
	run "$dir" "$target" "$time"
	# On a busy machine the first seconds may all go into the seeds: give it one longer chance.
	[ "$execs" -gt 0 ] || run "$dir" "$target" 60s
	if [ "$execs" -eq 0 ]; then echo "$out"; echo "fuzz: $dir $target executed nothing"; exit 1; fi
	echo "fuzz: $dir $target: $execs executions"
	count=$((count + 1))
done < <(git grep -oE '^func (Fuzz[A-Za-z0-9_]+)' -- '*_test.go' | sed 's/:func /:/' | sort)
[ "$count" -gt 0 ] || { echo "fuzz: no target found"; exit 1; }
echo "fuzz: $count targets"
