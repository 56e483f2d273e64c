package control_test

import (
	"testing"
	"time"

	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/model"
)

// applied applies a model against what is in force, watching for a moment.
func applied(t testing.TB, s *site, snap *model.Snapshot) admin.ApplyResult {
	t.Helper()
	a := s.admin()
	st, err := a.Status(soon(t))
	must(t, err)
	out, err := a.Apply(soon(t), admin.ApplyRequest{Model: encode(t, snap), Before: st.InForce.Version, Watch: model.Duration(time.Second)})
	must(t, err)
	return out
}

func apply(t testing.TB, s *site, snap *model.Snapshot) {
	t.Helper()
	if out := applied(t, s, snap); out.Outcome != admin.Applied {
		t.Fatalf("not applied: %+v", out)
	}
}
