package client

import (
	"testing"
	"time"

	"github.com/palisade-security/palisade/identity/authority"
	"github.com/palisade-security/palisade/identity/revocation"
)

// TestRestoredWithOldList holds that a list from before we were restored, kept on disk, does not take from us what control has
// signed since, and does take what it signed before.
func TestRestoredWithOldList(t *testing.T) {
	i, x := newIssuer(t), &told{}
	const name = "service/web"
	c, err := Open(t.Context(), x.options(name, i.kept(name)))
	must(t, err)
	svid := c.own.Load()
	signed := svid.Chain[0].NotBefore.Add(authority.Backdate)
	for _, row := range []struct {
		name  string
		since time.Time
		want  bool
	}{
		{"revoked after it was signed", signed.Add(2 * time.Second), true},
		{"revoked before it was signed", signed.Add(-2 * time.Second), false},
	} {
		t.Run(row.name, func(t *testing.T) {
			list, err := revocation.New(c.id.TrustDomain(), c.live.Denied().Sequence()+1, []revocation.Entry{{Kind: revocation.Service, Value: name, Since: row.since}})
			must(t, err)
			_, err = c.live.Deny(list)
			must(t, err)
			if got := c.revoked(svid); got != row.want {
				t.Errorf("revoked: %t, want %t", got, row.want)
			}
		})
	}
}
