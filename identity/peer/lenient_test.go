package peer

import (
	"crypto/x509"
	"testing"
	"time"
)

// TestLenient holds what serving on without the authority forgives: an end since the given moment, and nothing else.
func TestLenient(t *testing.T) {
	root := authority(t, "shop.example", nil, nil)
	v, _ := trusting(t, bundle("shop.example", root))
	end := func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-10*time.Minute), time.Now().Add(-time.Minute)
	}
	ended, _ := root.leaf("spiffe://shop.example/service/web", end)
	foreign, _ := authority(t, "shop.example", nil, nil).leaf("spiffe://shop.example/service/web", end)
	for name, c := range map[string]struct {
		chain []*x509.Certificate
		since func() time.Time
		want  Reason
	}{
		"strict":        {ended, nil, Expired},
		"valid then":    {ended, func() time.Time { return time.Now().Add(-2 * time.Minute) }, ""},
		"expired then":  {ended, func() time.Time { return time.Now().Add(-30 * time.Second) }, Expired},
		"another root":  {foreign, func() time.Time { return time.Now().Add(-2 * time.Minute) }, Expired},
		"not yet begun": {ended, func() time.Time { return time.Now().Add(-time.Hour) }, Expired},
	} {
		t.Run(name, func(t *testing.T) {
			v.Lenient(c.since)
			_, err := v.Verify(c.chain, AsClient, time.Now())
			if got := reason(err); got != c.want {
				t.Errorf("refused as %q, want %q", got, c.want)
			}
		})
	}
}
