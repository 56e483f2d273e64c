package console

import (
	"testing"

	"github.com/palisade-security/palisade/store/query"
)

// TestOthers holds that what is listed and what is not add up to all.
func TestOthers(t *testing.T) {
	n := &query.Counts{Total: 20, Values: 5, Top: []query.Count{{Value: "no-permit", Count: 9}, {Value: "waf-rule", Count: 4}}}
	if got := unlistedOf(n); got != (unlisted{Values: 3, Count: 7}) {
		t.Errorf("%+v", got)
	}
	n = &query.Counts{Total: 9, Values: 1, Top: n.Top[:1]}
	if got := unlistedOf(n); got != (unlisted{}) {
		t.Errorf("%+v", got)
	}
}
