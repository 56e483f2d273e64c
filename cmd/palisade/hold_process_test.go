package main

import (
	"strings"
	"syscall"
	"testing"

	"github.com/palisade-security/palisade/store/query"
)

// TestHold: a hold stands until it is released, also through kill -9, and who placed and released it is recorded.
func TestHold(t *testing.T) {
	t.Parallel()
	u := newUp(t, "", "")
	u.startReady()
	hold := func(want int, args ...string) string {
		t.Helper()
		r := verb(t, nil, append([]string{"hold", "--state=" + u.Path(".palisade")}, args...)...)
		if r.code != want {
			t.Fatalf("hold %q: exit code %d, want %d: %s%s", args, r.code, want, r.out, r.err)
		}
		return r.out + r.err
	}
	says := func(text string, wants ...string) {
		t.Helper()
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("%q is not in:\n%s", want, text)
			}
		}
	}
	model := "--model=" + u.Dir
	u.Eventually("the store is open", func() bool {
		return verb(t, nil, "hold", "list", u.Dir).code == exitOK
	})
	says(hold(exitOK, "list", u.Dir), "nothing is held")
	place := []string{"place", "case-1", "user:alice", "path:/orders/*", "--since=2026-10-01T00:00:00Z", "--until=2026-11-01T00:00:00Z", "--reason=claim of October", model}
	says(hold(exitOK, place...), "case-1 is held (user:alice path:/orders/* from 2026-10-01T00:00:00Z before 2026-11-01T00:00:00Z) until palisade hold release case-1")
	says(hold(exitError, place...), "a hold of that name stands already")
	says(hold(exitOK, "place", "case-2", "service:front", u.Dir), "case-2 is held (service:front)")
	says(hold(exitError, "release", "case-3", u.Dir), "no hold of that name stands", "palisade hold list")

	u.signal(syscall.SIGKILL)
	u.ends()
	says(hold(exitError, "list", u.Dir), "palisade")
	u.startReady()
	u.Eventually("the store is open again", func() bool {
		return verb(t, nil, "hold", "list", u.Dir).code == exitOK
	})
	says(hold(exitOK, "list", u.Dir), "HOLD", "case-1", "path:/orders/* from 2026-10-01", "claim of October", "case-2", "service:front")
	says(hold(exitOK, "release", "case-1", u.Dir), "case-1 is released (user:alice path:/orders/*")
	if text := hold(exitOK, "list", "--format=json", u.Dir); strings.Contains(text, "case-1") || !strings.Contains(text, `"query": "service:front"`) {
		t.Error(text)
	}
	for kind, want := range map[string][]string{
		"hold":          {"case-1", "case-2", `reason: \"claim of October\"`, query.ErrHeld.Error()},
		"hold-released": {"case-1", "case-3", query.ErrNoHold.Error()},
	} {
		u.Eventually("acts of the kind "+kind+" are found", func() bool {
			out := verb(t, nil, "events", "kind:"+kind, "-n0", "--format=json", model).out
			for _, w := range want {
				if !strings.Contains(out, w) {
					return false
				}
			}
			return true
		})
	}
}
