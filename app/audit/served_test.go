package audit

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/ledger"
	"github.com/palisade-security/palisade/store/events"
)

// servedAt serves a ledger over HTTPS as control does, and returns it as others see it.
func servedAt(t *testing.T, of func() (*Place, error)) Place {
	t.Helper()
	s := httptest.NewTLSServer(http.StripPrefix("/v1/ledger/", Published(of, slog.New(slog.DiscardHandler))))
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	served, err := NewServed(s.URL+"/v1/ledger", &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13})
	must(t, err)
	t.Cleanup(served.Close)
	return Place{Served: served}
}

// TestServed has a witness read a ledger over HTTPS while it grows, and refuse one that was written anew.
func TestServed(t *testing.T) {
	p, all := newPlace(t), given(900)
	p.keep(t, events.Options{}, all[:300])
	shown := p.Place
	at := servedAt(t, func() (*Place, error) {
		if shown.Ledger == "" {
			return nil, errors.New("out of order")
		}
		return &shown, nil
	})
	own, key := t.TempDir(), filepath.Join(p.Ledger, keyFile)
	witness := func() error {
		_, err := Witness(t.Context(), at, own, "auditor.example", key)
		return err
	}
	must(t, witness())
	p.keep(t, events.Options{}, all[300:])
	must(t, witness())
	last, err := os.ReadFile(filepath.Join(own, witnessLast))
	must(t, err)
	if got, err := at.Served.read(t.Context(), witnessedFile); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no witness was asked, and there is %q, %v", got, err)
	}
	must(t, os.WriteFile(filepath.Join(p.Ledger, witnessedFile), last, 0o600))
	if got, err := at.Served.read(t.Context(), witnessedFile); err != nil || string(got) != string(last) {
		t.Errorf("what witnesses have signed: %q, %v", got, err)
	}
	v, err := readKey(key)
	must(t, err)
	if c, err := (&ledger.Keys{Ledger: v}).Checkpoint(last); err != nil || c.Size != 900 {
		t.Errorf("%+v, %v", c, err)
	}
	shown = Place{}
	if err := witness(); err == nil || !strings.Contains(err.Error(), "Service Unavailable") || errors.Is(err, ledger.ErrForked) {
		t.Errorf("of one that is out of order: %v", err)
	}

	// The owner of the key writes another history, longer than the one before.
	other := newPlace(t)
	other.keeper.Ledger = Folder(other.Ledger, p.signer, p.public)
	other.keep(t, events.Options{}, given(1000)[50:])
	shown = other.Place
	if err := witness(); !errors.Is(err, ledger.ErrForked) {
		t.Errorf("another history: %v", err)
	}
	refused, err := os.ReadFile(filepath.Join(own, witnessRefused))
	must(t, err)
	now, err := os.ReadFile(filepath.Join(other.Ledger, checkpointFile))
	must(t, err)
	if after, err := os.ReadFile(filepath.Join(own, witnessLast)); err != nil || string(after) != string(last) || string(refused) != string(now) {
		t.Errorf("%v: remembered\n%s\nrefused\n%s", err, after, refused)
	}
}

// TestServedWrong holds what is not believed, and what is told.
func TestServedWrong(t *testing.T) {
	for _, prefix := range []string{"http://a.example/x", "https://", "https://u:secret@a.example/", "https://a.example/?token=secret", "ftp://a", "https://a\x00"} {
		if _, err := NewServed(prefix, nil); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", prefix, err)
		}
	}
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/moved/checkpoint":
			http.Redirect(w, r, "/long/checkpoint", http.StatusFound)
		case "/long/checkpoint":
			_, _ = w.Write(make([]byte, fetchSize+1))
		default:
			http.NotFound(w, r)
		}
	}))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	known := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}
	for _, c := range []struct {
		path, want string
		config     *tls.Config
	}{
		{"/moved", "it answers Found", known}, {"/long", "too long", known}, {"/none", "file does not exist", known}, {"/long", "certificate", nil},
	} {
		served, err := NewServed(s.URL+c.path, c.config)
		must(t, err)
		if _, err := (&Place{Served: served}).tree(t.Context()).Newest(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.path, err, c.want)
		}
		served.Close()
	}
}
