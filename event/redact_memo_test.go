package event

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// TestMemo holds that a text is redacted alike whether it was met before or not, by many at once, and that nothing that was
// redacted is remembered.
func TestMemo(t *testing.T) {
	r := NewRedactor(nil)
	texts := map[string]string{"curl/8.5.0": "curl/8.5.0", "Bearer abcdefgh1234": "Bearer " + Redacted, strings.Repeat("x", memoBytes+1): strings.Repeat("x", memoBytes+1), "": ""}
	for i := range 4 * memoTexts { // more than it holds
		agent := fmt.Sprintf("agent/%d (a=b; x)", i)
		texts[agent] = agent
		texts[fmt.Sprintf("password=%d %s", i, agent)] = fmt.Sprintf("password=%s %s", Redacted, agent)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for text, want := range texts {
				e := &Event{UserAgent: text, Trail: []Stage{{Reasons: []Reason{{Text: text}}}}}
				e.Redact(r)
				if e.UserAgent != want || e.Trail[0].Reasons[0].Text != want {
					t.Errorf("%q became %q and %q, expected %q", text, e.UserAgent, e.Trail[0].Reasons[0].Text, want)
				}
			}
		})
	}
	all.Wait()
	for i := range r.common.texts {
		if known := r.common.texts[i].Load(); known != nil && texts[*known] != *known {
			t.Errorf("%q is remembered", *known)
		}
	}
}
