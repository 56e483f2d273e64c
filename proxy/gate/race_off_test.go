//go:build !race

package gate_test

// share is one in how many tests of the rule set's suite run.
const share = 1
