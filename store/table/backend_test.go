package table_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/internal/pgtest"
	"github.com/palisade-security/palisade/store/table"
)

// each runs a test on empty tables of every kind; another opens them once more, as a second process would.
func each(t *testing.T, test func(t *testing.T, s *table.Store, another func(testing.TB) *table.Store)) {
	t.Run("sqlite", func(t *testing.T) {
		location := "sqlite:" + filepath.Join(t.TempDir(), "tables.db")
		another := func(t testing.TB) *table.Store { return open(t, location) }
		test(t, another(t), another)
	})
	t.Run("postgres", func(t *testing.T) {
		location := postgres.Database(t)
		another := func(t testing.TB) *table.Store { return open(t, location) }
		test(t, another(t), another)
	})
}

func open(t testing.TB, location string) *table.Store {
	t.Helper()
	s, err := table.Open(t.Context(), location)
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var postgres pgtest.Server

func TestMain(m *testing.M) {
	if os.Getenv(childFile) != "" {
		os.Exit(writeUntilKilled())
	}
	code := m.Run()
	postgres.Stop()
	os.Exit(code)
}

// soon is a context that ends long after what is awaited should have happened.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestOpenRefuses(t *testing.T) {
	for location, want := range map[string]string{
		"":                                  "",
		"sqlite:":                           "no file",
		"sqlite:/none/such/folder/x":        "no such file",
		"mysql://root:hunter2@localhost":    "neither",
		"postgres://u:hunter2@db.example/x": "sslmode=verify-full", // pgx would fall back to no TLS
		"postgres://u@db.example/x?sslmode=require": "sslmode=verify-full",
		"postgres://u@127.0.0.1,db.example/x":       "sslmode=verify-full",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		s, err := table.Open(ctx, location)
		cancel()
		if err == nil {
			must(t, s.Close())
			t.Errorf("%q was opened", location)
			continue
		}
		if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v, want %q", location, err, want)
		}
	}
}
