package app

import "testing"

func TestDays(t *testing.T) {
	for n, want := range map[int]string{0: "0 days", 1: "1 day", 12: "12 days"} {
		if got := days(n); got != want {
			t.Errorf("%q", got)
		}
	}
}
