package bucket_test

import (
	"bytes"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/internal/bucket"
	"github.com/palisade-security/palisade/internal/buckettest"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func castagnoli(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// TestObjects writes, reads, lists and deletes objects of a real server.
func TestObjects(t *testing.T) {
	s := buckettest.Start(t)
	b := s.Bucket(t, "a/b")
	text := make([]byte, 20<<20) // more than clients put at once by default
	rng := rand.NewChaCha8([32]byte{1})
	_, _ = rng.Read(text)
	must(t, b.Put(t.Context(), "x/one.parquet", "application/vnd.apache.parquet", bytes.NewReader(text), int64(len(text)), castagnoli(text)))
	got := make([]byte, 1000)
	must(t, b.Read(t.Context(), "x/one.parquet", got, 12345))
	if !bytes.Equal(got, text[12345:13345]) {
		t.Error("other bytes come back")
	}
	for _, at := range []int64{int64(len(text)) - 10, int64(len(text)), int64(len(text)) + 10} {
		if err := b.Read(t.Context(), "x/one.parquet", got, at); !errors.Is(err, bucket.ErrShort) {
			t.Errorf("bytes behind the end are read: %v", err)
		}
	}
	if err := b.Put(t.Context(), "x/two", "text/plain", bytes.NewReader(text), 100, 1); err == nil {
		t.Error("another checksum is taken")
	}
	if err := b.Read(t.Context(), "x/two", got[:10], 0); !errors.Is(err, bucket.ErrAbsent) {
		t.Errorf("what was not taken: %v", err)
	}
	var names []string
	for name, err := range b.Names(t.Context(), "x/") {
		must(t, err)
		names = append(names, name)
	}
	if !slices.Equal(names, []string{"x/one.parquet"}) {
		t.Errorf("%q", names)
	}
	must(t, b.Delete(t.Context(), "x/one.parquet"))
	must(t, b.Delete(t.Context(), "x/one.parquet"))
	if _, _, err := b.Get(t.Context(), "x/one.parquet", 10); !errors.Is(err, bucket.ErrAbsent) {
		t.Errorf("deleted: %v", err)
	}
}

// TestReplace compares and swaps.
func TestReplace(t *testing.T) {
	s := buckettest.Start(t)
	b := s.Bucket(t, "")
	first, err := b.Replace(t.Context(), "m.json", "application/json", []byte("1"), "")
	must(t, err)
	if _, err := b.Replace(t.Context(), "m.json", "application/json", []byte("2"), ""); !errors.Is(err, bucket.ErrChanged) {
		t.Errorf("one that is there: %v", err)
	}
	second, err := b.Replace(t.Context(), "m.json", "application/json", []byte("2"), first)
	must(t, err)
	if _, err := b.Replace(t.Context(), "m.json", "application/json", []byte("3"), first); !errors.Is(err, bucket.ErrChanged) {
		t.Errorf("an older one: %v", err)
	}
	text, tag, err := b.Get(t.Context(), "m.json", 10)
	must(t, err)
	if string(text) != "2" || tag != second {
		t.Errorf("%q, %q", text, tag)
	}
	if _, _, err := b.Get(t.Context(), "m.json", 0); err == nil || errors.Is(err, bucket.ErrAbsent) {
		t.Errorf("too large: %v", err)
	}
}

// TestWrong says what is wrong, without secrets, and takes no missing bucket for a missing object.
func TestWrong(t *testing.T) {
	s := buckettest.Start(t)
	for what, o := range s.Wrong() {
		b, err := bucket.New(o)
		must(t, err)
		_, _, err = b.Get(t.Context(), "x", 10)
		if err == nil || errors.Is(err, bucket.ErrAbsent) || strings.Contains(err.Error(), o.Password) {
			t.Errorf("%s: %v", what, err)
		}
		t.Log(err)
		must(t, b.Close())
	}
	for _, bad := range []string{"", "s3://x", "https://", "https://a/b"} {
		if _, err := bucket.New(bucket.Options{URL: bad}); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	s.Away(true)
	if _, _, err := s.Bucket(t, "").Get(t.Context(), "x", 10); err == nil || errors.Is(err, bucket.ErrAbsent) {
		t.Errorf("away: %v", err)
	}
}
