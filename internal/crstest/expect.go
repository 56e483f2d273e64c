package crstest

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Expected is a test that is known not to pass, and why.
type Expected struct {
	ID      string
	Outcome Outcome // any but Passed
	Reason  string
}

// ReadExpected reads a list of such tests: one per line as "920100-8 fail why it fails", "#" begins a comment.
func ReadExpected(r io.Reader) ([]Expected, error) {
	var out []Expected
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		fields := strings.SplitN(line, " ", 3)
		if len(fields) != 3 {
			return nil, fmt.Errorf("line %d: expected a test, an outcome and a reason", n)
		}
		e := Expected{ID: fields[0], Outcome: Outcome(fields[1]), Reason: fields[2]}
		if !slices.Contains([]Outcome{Failed, Refused, Strict}, e.Outcome) {
			return nil, fmt.Errorf("line %d: %q is not %q, %q or %q", n, e.Outcome, Failed, Refused, Strict)
		}
		if slices.ContainsFunc(out, func(o Expected) bool { return o.ID == e.ID }) {
			return nil, fmt.Errorf("line %d: %s stands twice", n, e.ID)
		}
		out = append(out, e)
	}
	return out, lines.Err()
}

// Compare returns every difference between the report and what is expected: a test that does not pass and is
// not listed, one that is listed and passes, one whose outcome is another, one that was not run.
func (r *Report) Compare(expected []Expected) []string {
	var out []string
	left := make(map[string]Expected, len(expected))
	for _, e := range expected {
		left[e.ID] = e
	}
	for i := range r.Results {
		got := &r.Results[i]
		want, listed := left[got.ID]
		delete(left, got.ID)
		switch {
		case !listed && got.Outcome != Passed:
			out = append(out, fmt.Sprintf("%s is not listed: %s (%s)", got.ID, got.Outcome, got.Detail))
		case listed && got.Outcome == Passed:
			out = append(out, got.ID+" is listed and passes")
		case listed && got.Outcome != want.Outcome:
			out = append(out, fmt.Sprintf("%s is listed as %s: %s (%s)", got.ID, want.Outcome, got.Outcome, got.Detail))
		}
	}
	for _, e := range expected {
		if _, missing := left[e.ID]; missing {
			out = append(out, e.ID+" is listed and was not run")
		}
	}
	return out
}

// Every chooses one test in n, the same ones at every run; 1 chooses all.
func Every(n int) func(id string) bool {
	i := -1
	return func(string) bool { i++; return i%n == 0 }
}

// Ran returns what is listed of the tests that ran.
func (r *Report) Ran(all []Expected) []Expected {
	return slices.DeleteFunc(slices.Clone(all), func(e Expected) bool {
		return !slices.ContainsFunc(r.Results, func(one Result) bool { return one.ID == e.ID })
	})
}
