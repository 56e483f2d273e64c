package exchange

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/field"
	"github.com/palisade-security/palisade/proxy/filter/jwt"
	"github.com/palisade-security/palisade/token"
)

const domain = "shop.example"

// issuer is the real one, and as app joins it: the key is all that the token is made of.
func issuer(t testing.TB) (*token.Transactions, Issue) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tx, err := token.NewTransactions(domain, key)
	if err != nil {
		t.Fatal(err)
	}
	type reuse struct {
		user     *proxy.User
		workload string
	}
	return tx, func(u *proxy.User, workload string, now time.Time) (string, error) {
		return tx.For(reuse{u, workload}, &token.Transaction{
			Subject: u.Subject, Provider: u.Provider, Issuer: u.Issuer, Roles: u.Roles, Claims: u.Claims, Scopes: u.Scopes,
			ClientID: u.ClientID, TokenID: u.TokenID, ACR: u.ACR, AMR: u.AMR, AuthTime: u.AuthTime, Workload: workload, Expires: u.Expires,
		}, now)
	}
}

func request(u *proxy.User, header ...field.Field) *proxy.Request {
	return &proxy.Request{
		Began: time.Now(), User: u, Header: append(make(field.List, 0, 8), header...), Trail: []event.Stage{{Name: event.StageExchange}},
	}
}

func customer() *proxy.User {
	return &proxy.User{
		Provider: "login", Issuer: "https://login.example", Subject: "user-1", Roles: []string{"customer"}, Scopes: []string{"a", "b"},
		Claims: map[string]any{"tenant": "north"}, TokenID: "t-1", ClientID: "web", ACR: "high", AMR: []string{"pwd"},
		AuthTime: time.Now().Add(-time.Minute).Truncate(time.Second).UTC(), Expires: time.Now().Add(time.Hour),
	}
}

var (
	accept = field.Field{Name: "Accept", Value: "*/*"}
	bearer = field.Field{Name: "Authorization", Value: "Bearer outside"}
	forged = field.Field{Name: "txn-token", Value: "forged"}
)

// TestExchange holds what goes on into the mesh.
func TestExchange(t *testing.T) {
	_, issue := issuer(t)
	x := New(issue, model.EdgeID(domain), "shop")
	for name, tt := range map[string]struct {
		user    *proxy.User
		forward bool
		header  []field.Field
		want    []field.Field // but for the token
		token   bool
	}{
		"user":                   {customer(), false, []field.Field{accept, bearer}, []field.Field{accept}, true},
		"user, token declared":   {customer(), true, []field.Field{bearer, accept}, []field.Field{bearer, accept}, true},
		"nobody":                 {nil, false, []field.Field{accept}, []field.Field{accept}, false},
		"nobody with something":  {nil, false, []field.Field{bearer, accept, bearer}, []field.Field{accept}, false},
		"forged, with a user":    {customer(), true, []field.Field{forged, accept, forged}, []field.Field{accept}, true},
		"forged, without a user": {nil, true, []field.Field{forged, accept}, []field.Field{accept}, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := request(tt.user, tt.header...)
			if err := x.ForRoute(model.ResolvedRoute{ForwardToken: tt.forward}).Filter(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			if got := r.Header.Count(Field); (got == 1) != tt.token || got > 1 || (len(r.Trail[0].Reasons) == 1) != tt.token {
				t.Errorf("%d transaction tokens, reasons %v", got, r.Trail[0].Reasons)
			}
			r.Header.Del(Field)
			if !slices.Equal(r.Header, field.List(tt.want)) {
				t.Errorf("got %v", r.Header)
			}
		})
	}
}

// TestThereAndBack has a sidecar read what the edge wrote: it is the same user.
func TestThereAndBack(t *testing.T) {
	tx, issue := issuer(t)
	r := request(customer(), bearer)
	if err := New(issue, model.EdgeID(domain), "shop").ForRoute(model.ResolvedRoute{}).Filter(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	sidecar, err := jwt.NewTransactions(jwt.TransactionOptions{
		Fleet: "shop", TrustDomain: domain, JWKS: tx.JWKS(), Roles: []model.ResolvedRole{{Name: "customer", Includes: []string{"customer"}}},
		Providers: []model.ResolvedProvider{{Name: "login", Provider: model.Provider{Claims: map[string]string{"tenant": "string"}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	inside := request(nil, r.Header...)
	if err := sidecar.ForRoute(model.ResolvedRoute{}).Filter(t.Context(), inside); err != nil {
		t.Fatal(err)
	}
	was, is := customer(), inside.User
	if is.Subject != was.Subject || is.Provider != was.Provider || is.Issuer != was.Issuer || !slices.Equal(is.Roles, was.Roles) ||
		!slices.Equal(is.Scopes, was.Scopes) || is.Claims["tenant"] != "north" || is.TokenID != was.TokenID || is.ClientID != was.ClientID ||
		is.ACR != was.ACR || !slices.Equal(is.AMR, was.AMR) || is.AuthTime.Sub(was.AuthTime).Abs() > time.Minute || is.Expires.After(was.Expires) {
		t.Errorf("got  %+v\nwant %+v", is, was)
	}
}

// TestReuse holds that one user gets one token for a while, and two users never the same.
func TestReuse(t *testing.T) {
	_, issue := issuer(t)
	f := New(issue, model.EdgeID(domain), "shop").ForRoute(model.ResolvedRoute{})
	get := func(u *proxy.User) string {
		r := request(u)
		if err := f.Filter(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		return r.Header.Get(Field)
	}
	first, second := customer(), customer()
	if a, b := get(first), get(first); a != b {
		t.Error("the token is not reused")
	}
	if get(first) == get(second) {
		t.Error("two users share a token")
	}
}

// TestNoToken holds that nothing goes on without the token that it needs.
func TestNoToken(t *testing.T) {
	_, issue := issuer(t)
	expired := customer()
	expired.Expires = time.Now().Add(-time.Second)
	err := New(issue, model.EdgeID(domain), "shop").ForRoute(model.ResolvedRoute{}).Filter(t.Context(), request(expired, bearer))
	denial, ok := errors.AsType[*proxy.Denial](err)
	if !ok || denial.Kind != proxy.KindInvalidToken || denial.Reasons[0].Code != CodeExpired ||
		denial.Header.Get("WWW-Authenticate") != `Bearer realm="shop", error="invalid_token"` {
		t.Errorf("got %+v", err)
	}
	broken := errors.New("the key is away")
	x := New(func(*proxy.User, string, time.Time) (string, error) { return "", broken }, model.EdgeID(domain), "shop")
	r := request(customer(), bearer)
	err = x.ForRoute(model.ResolvedRoute{}).Filter(t.Context(), r)
	if _, denied := errors.AsType[*proxy.Denial](err); denied || !errors.Is(err, broken) || r.Header.Has(Field) {
		t.Errorf("got %v", err)
	}
}

// BenchmarkExchange is the stage for a user whose token is kept.
func BenchmarkExchange(b *testing.B) {
	_, issue := issuer(b)
	f := New(issue, model.EdgeID(domain), "shop").ForRoute(model.ResolvedRoute{})
	r := request(customer(), accept, bearer)
	b.ReportAllocs()
	for b.Loop() {
		r.Trail[0].Reasons = nil
		r.Header = append(r.Header[:0], accept, bearer)
		if err := f.Filter(b.Context(), r); err != nil {
			b.Fatal(err)
		}
	}
}
