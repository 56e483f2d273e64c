//go:build !race

package waf_test

// share is one in how many tests of the rule set's suite run.
const share = 1
