package app

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/app/archive"
	"github.com/palisade-security/palisade/app/audit"
	"github.com/palisade-security/palisade/event/eventtest"
	"github.com/palisade-security/palisade/internal/buckettest"
	"github.com/palisade-security/palisade/ledger"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/store/events"
	"github.com/palisade-security/palisade/store/query"
)

// TestBucketRecalled reads the events of a state directory that lie in a bucket, without the process and its model: by who finds them and
// who verifies them. Without the secret both say what is missing.
func TestBucketRecalled(t *testing.T) {
	server := buckettest.Start(t)
	t.Setenv("BUCKET_SECRET", buckettest.Password)
	state := t.TempDir()
	of := &model.Snapshot{Audit: model.Audit{Bucket: &model.AuditBucket{URL: server.URL, Name: buckettest.Name, User: buckettest.User, Password: model.Value{FromEnv: "BUCKET_SECRET"}, Disk: 1}}}
	opened, err := openEvents(state, of)(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := opened.(*events.Store)
	given := eventtest.New(1, time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC), time.Second).Take(500)
	for _, do := range []func() error{
		func() error { return s.Append(t.Context(), given) },
		func() error { return s.Seal(t.Context()) },
		func() error { return s.Deposit(t.Context(), given[0].Time.Add(24*time.Hour)) },
		s.Close,
	} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := filepath.Glob(filepath.Join(archiveDir(state), "segments", "*.parquet")); err != nil || len(left) > 0 {
		t.Fatalf("%q, %v", left, err)
	}
	o := &Options{State: state, Out: io.Discard, Err: io.Discard}
	f, err := o.find(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	page, err := f.Last(t.Context(), query.Query{}, 1000, query.Cursor{})
	f.close()
	if err != nil || len(page.Events) != len(given) {
		t.Errorf("%v: %v", page, err)
	}
	l, err := events.Peek(t.Context(), audited(state).Store, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	b, err := audited(state).Bucket()
	if err != nil || !strings.Contains(b.String(), server.Port()) {
		t.Errorf("%v, %v", b, err)
	}
	t.Setenv("BUCKET_SECRET", "")
	if _, err := o.find(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "BUCKET_SECRET") {
		t.Errorf("without the secret: %v", err)
	}
	if _, err := audited(state).Bucket(); err == nil || !strings.Contains(err.Error(), "object storage") {
		t.Errorf("without the secret: %v", err)
	}
}

// TestBucketWaiting shows what waits for a bucket, and nothing of a store that has none.
func TestBucketWaiting(t *testing.T) {
	t.Setenv("BUCKET_SECRET", buckettest.Password)
	away := &model.AuditBucket{URL: "http://127.0.0.1:9", Name: buckettest.Name, User: buckettest.User, Password: model.Value{FromEnv: "BUCKET_SECRET"}}
	for _, of := range []*model.AuditBucket{nil, away} {
		begun := time.Now().Add(-24 * time.Hour)
		state := t.TempDir()
		if of != nil { // a store that begins asks the bucket what it has
			s, err := openEvents(state, &model.Snapshot{})(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(s.Append(t.Context(), eventtest.New(1, begun, time.Second).Take(10)), s.(*events.Store).Seal(t.Context()), s.Close()); err != nil {
				t.Fatal(err)
			}
		}
		s, err := openEvents(state, &model.Snapshot{Audit: model.Audit{Bucket: of}})(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		w, ok := (&memory{Archive: archive.Holding(s, nil)}).bucket()
		if ok != (of != nil) || ok && (w.Segments == 0 || w.Bytes == 0 || w.Behind < 23*time.Hour || w.Behind > 25*time.Hour) {
			t.Errorf("%+v, %v", w, ok)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, ok := (&memory{Archive: archive.New(nil, nil, nil)}).bucket(); ok {
		t.Error("told of a store that is not open")
	}
}

// TestBucketVerified has "palisade audit verify" verify a state directory whose segments lie in a bucket, and name an object that is gone.
func TestBucketVerified(t *testing.T) {
	server := buckettest.Start(t)
	t.Setenv("BUCKET_SECRET", buckettest.Password)
	state := t.TempDir()
	of := &model.AuditBucket{URL: server.URL, Name: buckettest.Name, User: buckettest.User, Password: model.Value{FromEnv: "BUCKET_SECRET"}}
	opened, err := openEvents(state, &model.Snapshot{Audit: model.Audit{Bucket: of}})(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	signer, public, err := ledger.NewSigner("shop.example/ledger", ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	keeper := &audit.Keeper{
		Ledger: audit.Folder(audited(state).Ledger, signer, public), Log: slog.New(slog.DiscardHandler),
		Alarm: func(_ context.Context, text string) { t.Error(text) }, Open: func(context.Context) (audit.Source, error) { return opened, nil },
	}
	verified := func() (r audit.Result, exact bool, err error) {
		var out bytes.Buffer
		exact, err = AuditVerify(t.Context(), &Options{State: state, Out: &out, Err: io.Discard, JSON: true}, "", "", time.Time{}, &audit.Trust{})
		if err == nil {
			err = json.Unmarshal(out.Bytes(), &r)
		}
		return r, exact, err
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- keeper.Run(ctx) }()
	s := opened.(*events.Store)
	given := eventtest.New(1, time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC), time.Second).Take(500)
	if err := errors.Join(s.Append(t.Context(), given), s.Seal(t.Context()), s.Deposit(t.Context(), given[0].Time.Add(24*time.Hour))); err != nil {
		t.Fatal(err)
	}
	for {
		if r, exact, err := verified(); err == nil && exact && r.Verified == uint64(len(given)) {
			break
		}
		select {
		case <-t.Context().Done():
			t.Fatal("the ledger does not have the events")
		case <-time.After(50 * time.Millisecond):
		}
	}
	cancel()
	if err := errors.Join(<-done, s.Close()); err != nil {
		t.Fatal(err)
	}
	object := ""
	if err := filepath.WalkDir(server.Dir, func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".parquet") {
			object = path
		}
		return err
	}); err != nil || object == "" {
		t.Fatal(object, err)
	}
	if err := os.Remove(object); err != nil {
		t.Fatal(err)
	}
	name, err := filepath.Rel(server.Dir, object)
	if err != nil {
		t.Fatal(err)
	}
	r, exact, err := verified()
	if err != nil || exact || !slices.ContainsFunc(r.Findings, func(f ledger.Finding) bool { return f.Kind == ledger.Unreadable && strings.Contains(f.Text, name) }) {
		t.Errorf("%s is gone: %+v, %v", name, r.Findings, err)
	}
	t.Setenv("BUCKET_SECRET", "")
	if _, _, err := verified(); err == nil || !strings.Contains(err.Error(), "BUCKET_SECRET") {
		t.Errorf("without the secret: %v", err)
	}
}
