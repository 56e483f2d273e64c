package authority

import (
	"testing"
	"time"

	"github.com/palisade-security/palisade/identity/revocation"
)

// TestPrune holds that what was issued before a service was restored stays refused for as long as it proves anything.
func TestPrune(t *testing.T) {
	restored := time.Now()
	for _, c := range []struct {
		name         string
		grace, after time.Duration
		kept         bool
	}{
		{"SVIDs may live", 0, MaxTTL, true},
		{"they have ended", 0, MaxTTL + time.Hour, false},
		{"they have ended and prove something", 72 * time.Hour, MaxTTL + 71*time.Hour, true},
		{"they prove nothing any more", 72 * time.Hour, MaxTTL + 73*time.Hour, false},
		{"they never did", -1, MaxTTL + time.Hour, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &state{Revoked: []revocation.Entry{
				{Kind: revocation.Service, Value: "service/a", Before: restored}, {Kind: revocation.Service, Value: "service/b"},
			}}
			changed := prune(s, restored.Add(c.after), c.grace)
			if kept := len(s.Revoked) == 2; kept != c.kept || changed == c.kept || s.Revoked[len(s.Revoked)-1].Value != "service/b" {
				t.Errorf("kept %v: %+v", kept, s.Revoked)
			}
		})
	}
}
