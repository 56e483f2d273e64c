//go:build race

package waf_test

// share is one in how many tests of the rule set's suite run: all would take too long here.
const share = 32
