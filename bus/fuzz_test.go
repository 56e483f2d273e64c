package bus

import (
	"crypto/x509"
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
)

// FuzzCallout gives a callout hostile requests: as they come, and with a server's signature on hostile claims.
func FuzzCallout(f *testing.F) {
	keys, err := NewKeys()
	if err != nil {
		f.Fatal(err)
	}
	server, err := nkeys.CreateServer()
	if err != nil {
		f.Fatal(err)
	}
	serverID, err := server.PublicKey()
	if err != nil {
		f.Fatal(err)
	}
	curve, err := keys.curve.PublicKey()
	if err != nil {
		f.Fatal(err)
	}
	user, err := keys.roles[Control].PublicKey()
	if err != nil {
		f.Fatal(err)
	}
	a, err := NewAuthorizer(CalloutOptions{
		Keys: keys, Log: slog.New(slog.DiscardHandler),
		Certificate: func([]*x509.Certificate) (string, string, error) { return "spiffe://example/a", "", nil },
		Permit:      func(string) (Permissions, bool) { return Permissions{}, true },
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(`{"connect_opts":{"auth_token":"x"},"client_tls":{"certs":["-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]}}`))
	f.Add([]byte(`{"client_tls":{"verified_chains":[[]]}}`))
	f.Add([]byte("eyJ0eXAiOiJKV1QifQ.e30.AA"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := a.open(data, curve); err == nil {
			t.Fatal("hostile bytes were decrypted")
		}
		if r, err := readRequest(data, curve); err == nil {
			t.Fatalf("hostile bytes were believed: %+v", r)
		}
		claims := jwt.NewAuthorizationRequestClaims(user)
		if json.Unmarshal(data, &claims.AuthorizationRequest) != nil {
			return
		}
		claims.UserNkey, claims.Server.ID, claims.Server.XKey = user, serverID, curve
		text, err := claims.Encode(server)
		if err != nil {
			return
		}
		r, err := readRequest([]byte(text), curve)
		if err != nil {
			t.Fatalf("a server's request was refused: %v", err)
		}
		d, allowed := a.decide(t.Context(), r, time.Unix(1e9, 0))
		if (d.Denied == nil) != (allowed != nil) || allowed != nil && d.ID == "" {
			t.Fatalf("decided %+v with %+v", d, allowed)
		}
		if _, err := a.answer(r, allowed); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzSubject holds that an identity survives its way through a subject, and that nothing else reads as one.
func FuzzSubject(f *testing.F) {
	f.Add("spiffe://example/service/web")
	f.Add("")
	f.Fuzz(func(t *testing.T, id string) {
		token := SubjectToken(id)
		if whole := "a." + token + ".b"; id != "" && len(whole) <= maxSubject {
			if back, err := ParseSubjectToken(token); err != nil || back != id || checkSubject(whole, false) != nil {
				t.Fatalf("%q became %q, %v", id, back, err)
			}
		}
		if got, err := ParseSubjectToken(id); err == nil && SubjectToken(got) != id {
			t.Fatalf("%q and %q are one identity", id, SubjectToken(got))
		}
		if matches(id, id) != true && checkSubject(id, true) == nil {
			t.Fatalf("%q does not match itself", id)
		}
	})
}
