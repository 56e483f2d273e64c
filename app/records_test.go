package app_test

import (
	"strings"
	"testing"

	"github.com/palisade-security/palisade/app"
	"github.com/palisade-security/palisade/app/observe"
)

// explained finds the record of a request; records are written without the request waiting for them.
func (f *fleet) explained(t *testing.T, id string, allowed bool) *app.Explanation {
	t.Helper()
	var x *app.Explanation
	f.Eventually("a record of "+id, func() bool {
		var err error
		x, err = app.Explain(t.Context(), f.options, id)
		return err == nil
	})
	if x.Event.ID != id || x.Event.Allowed != allowed {
		t.Errorf("record of %s: id %s, allowed %t", id, x.Event.ID, x.Event.Allowed)
	}
	if !allowed && len(x.Flips) == 0 && x.Event.Refusing() == nil {
		t.Errorf("record of %s does not say what refused", id)
	}
	var b strings.Builder
	x.Print(&b, observe.Style{})
	if !strings.Contains(b.String(), id) {
		t.Errorf("explanation without the id: %s", b.String())
	}
	return x
}
