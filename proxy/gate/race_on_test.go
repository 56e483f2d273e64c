//go:build race

package gate_test

// share is one in how many tests of the rule set's suite run: all would take too long here.
const share = 8
