package control_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/token"
)

// transactionKeys are those of another edge process.
func transactionKeys(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	made, err := token.NewTransactions(domain, key)
	must(t, err)
	return made.JWKS()
}

// TestTakenEdge holds that the keys that a taken edge reports neither keep others from learning that it is revoked, nor
// outlive it.
func TestTakenEdge(t *testing.T) {
	s := newSite(t, compile(t, shop), nil)
	s.start()
	orders := join(t, s, "service/orders", nil)
	edge := join(t, s, "edge/edge", nil)
	says := func(keys []byte) {
		edge.get(func(p *proxy) { p.stats.Keys = keys })
		edge.Report()
	}
	knows := func(what string, want string) {
		t.Helper()
		eventually(t, what, func() (ok bool) {
			orders.get(func(p *proxy) { ok = string(p.jwks) == want })
			return ok
		})
	}
	const none = `{"keys":[]}`
	good := transactionKeys(t)
	says(good)
	knows("the keys of an edge are told", string(good))
	says([]byte(`{"keys":[1]}`))
	knows("what is no key is not told", none)
	says([]byte(`{"keys":[` + strings.Repeat(`{},`, 200) + `{}]}`))
	again := transactionKeys(t)
	says(again)
	knows("good keys are told again", string(again))
	out, err := s.admin().Revoke(soon(t), admin.RevokeRequest{Kind: "service", Value: "edge/edge", Reason: "stolen"})
	must(t, err)
	if out.Confirmed != 1 || len(out.Missing) > 0 {
		t.Errorf("revocation %+v", out)
	}
	knows("with an edge its keys are revoked", none)
}
