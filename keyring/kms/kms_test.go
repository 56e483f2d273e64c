package kms

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/keyring"
)

// transit answers as Vault's transit engine does (HTTP API: PUT /v1/transit/encrypt/:name and decrypt/:name).
// It seals with a ring of its own, so that a wrong name or changed text does not open.
func transit(t *testing.T, token string) *httptest.Server {
	t.Helper()
	keeper, err := keyring.LocalKeeper(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keyring.OpenRing(t.Context(), t.TempDir(), keeper)
	if err != nil {
		t.Fatal(err)
	}
	answer := func(w http.ResponseWriter, code int, data any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(data)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Plaintext  []byte `json:"plaintext"`
			Ciphertext string `json:"ciphertext"`
		}
		if r.Header.Get("X-Vault-Token") != token || json.NewDecoder(r.Body).Decode(&body) != nil {
			answer(w, http.StatusForbidden, map[string]any{"errors": []string{"permission denied"}})
			return
		}
		what, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v1/transit/"), "/")
		if what == "encrypt" {
			sealed, err := ring.Seal(name, body.Plaintext)
			if err != nil {
				t.Error(err)
			}
			answer(w, http.StatusOK, map[string]any{"data": map[string]string{"ciphertext": "vault:v1:" + base64.StdEncoding.EncodeToString(sealed)}})
			return
		}
		sealed, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(body.Ciphertext, "vault:v1:"))
		if err == nil {
			body.Plaintext, err = ring.Open(name, sealed)
		}
		if err != nil {
			answer(w, http.StatusBadRequest, map[string]any{"errors": []string{"message authentication failed"}})
			return
		}
		answer(w, http.StatusOK, map[string]any{"data": map[string]any{"plaintext": body.Plaintext}})
	}))
	t.Cleanup(server.Close)
	return server
}

// TestVault opens a ring that Vault wraps, and holds that it does not open with another key.
func TestVault(t *testing.T) {
	server := transit(t, "s.token")
	t.Setenv("VAULT_SERVER_URL", "")
	t.Setenv("VAULT_ADDR", server.URL)
	t.Setenv("VAULT_SERVER_TOKEN", "")
	t.Setenv("VAULT_TOKEN", "s.token")
	keeper, err := Open(t.Context(), "hashivault://palisade")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = keeper.Close() }()
	dir := t.TempDir()
	ring, err := keyring.OpenRing(t.Context(), dir, keeper)
	if err != nil {
		t.Fatal(err)
	}
	if err := ring.Save("a", []byte("data")); err != nil {
		t.Fatal(err)
	}
	other, err := Open(t.Context(), "hashivault://other")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	if _, err := keyring.OpenRing(t.Context(), dir, other); err == nil {
		t.Error("another key opens the ring")
	}
	again, err := keyring.OpenRing(t.Context(), dir, keeper)
	if err != nil {
		t.Fatal(err)
	}
	server.Close() // the key service is away: an opened ring goes on
	if data, err := again.Load("a"); err != nil || string(data) != "data" {
		t.Errorf("%q, %v", data, err)
	}
	if _, err := keyring.OpenRing(t.Context(), dir, keeper); err == nil {
		t.Error("a ring opens without its key service")
	}
}

// TestCheck holds which URLs name a key; those refused are not repeated when they may hold a secret.
func TestCheck(t *testing.T) {
	for _, good := range []string{
		"awskms://alias/palisade?region=eu-central-1", "gcpkms://projects/p/locations/l/keyRings/r/cryptoKeys/k",
		"azurekeyvault://v.vault.azure.net/keys/k", "hashivault://palisade",
	} {
		if err := Check(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "palisade", "base64key://c2VjcmV0", "file:///etc/passwd", "hashivault://", "hashivault:palisade",
		"hashivault://user:c2VjcmV0@palisade", "awskms://c2VjcmV0\x7f",
	} {
		err := Check(bad)
		if err == nil || strings.Contains(err.Error(), "c2VjcmV0") {
			t.Errorf("%q: %v", bad, err)
		}
		if _, err := Open(t.Context(), bad); err == nil {
			t.Errorf("%q opens", bad)
		}
	}
}

// TestCloudURLs holds that each cloud's own opener takes the URLs we document, without asking anybody.
func TestCloudURLs(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "x")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "x")
	t.Setenv("AZURE_TENANT_ID", "00000000-0000-0000-0000-000000000000")
	t.Setenv("AZURE_CLIENT_ID", "x")
	t.Setenv("AZURE_CLIENT_SECRET", "x")
	for _, keyURL := range []string{"awskms://alias/palisade?region=eu-central-1", "azurekeyvault://v.vault.azure.net/keys/k"} {
		keeper, err := Open(t.Context(), keyURL)
		if err != nil {
			t.Errorf("%s: %v", keyURL, err)
			continue
		}
		_ = keeper.Close()
	}
}
