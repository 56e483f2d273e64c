package intake_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/palisade-security/palisade/intake"
)

// TestQuota uses a quota up, is told when to come back, and then may.
func TestQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, k := open(t, intake.Source{Name: "a", Keys: []string{sumOf(key)}, Records: 10, Bytes: 1 << 20}, intake.Source{Name: "b", Keys: []string{sumOf("other")}, Records: 10, Bytes: 100})
		many := strings.Repeat("x\n", 80)
		if r := post(t, in, intake.PathLines, ndjson, many); r.StatusCode != http.StatusOK { // it had 50, and owes 30
			t.Fatal(r.StatusCode)
		}
		for range 3 {
			r := post(t, in, intake.PathLines, ndjson, "x")
			if r.StatusCode != http.StatusTooManyRequests || r.Header.Get("Retry-After") != "4" {
				t.Fatalf("%d %q", r.StatusCode, r.Header.Get("Retry-After"))
			}
		}
		asB := func(r *http.Request) { r.Header.Set("Authorization", "Bearer other") }
		if r := post(t, in, intake.PathLines, ndjson, strings.Repeat("y", 600), asB); r.StatusCode != http.StatusOK {
			t.Errorf("another source: %d", r.StatusCode)
		}
		if r := post(t, in, intake.PathLines, ndjson, "y", asB); r.StatusCode != http.StatusTooManyRequests {
			t.Errorf("its bytes are used up: %d", r.StatusCode)
		}
		in.Declare([]intake.Source{{Name: "a", Keys: []string{sumOf(key)}, Records: 10, Bytes: 1 << 20}})
		if r := post(t, in, intake.PathLines, ndjson, "x"); r.StatusCode != http.StatusTooManyRequests {
			t.Errorf("a new declaration forgives: %d", r.StatusCode)
		}
		if r := post(t, in, intake.PathLines, ndjson, "y", asB); r.StatusCode != http.StatusUnauthorized {
			t.Errorf("a source that is gone: %d", r.StatusCode)
		}
		time.Sleep(4 * time.Second)
		if r := post(t, in, intake.PathLines, ndjson, "x"); r.StatusCode != http.StatusOK {
			t.Errorf("after the wait: %d", r.StatusCode)
		}
		if n := len(k.all()); n != 82 {
			t.Errorf("%d records", n)
		}
	})
}

// TestToldOnceAMinute tells of the first refusal at once, and of those that follow together.
func TestToldOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, k := open(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- in.Run(ctx) }()
		wrong := func(r *http.Request) { r.Header.Set("Authorization", "Bearer wrong") }
		for range 5 {
			post(t, in, intake.PathLines, ndjson, "x", wrong)
		}
		if r := k.refused(); len(r) != 1 || r[0].Omitted != 0 || r[0].Address != "192.0.2.1" || r[0].Source != "" {
			t.Fatalf("%+v", r)
		}
		time.Sleep(90 * time.Second)
		if r := k.refused(); len(r) != 2 || r[1].Omitted != 3 {
			t.Fatalf("%+v", r)
		}
		time.Sleep(10 * time.Minute)
		if r := k.refused(); len(r) != 2 {
			t.Fatalf("%+v", r)
		}
		post(t, in, intake.PathLines, ndjson, "x", wrong)
		post(t, in, intake.PathLines, ndjson, "x", wrong)
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if r := k.refused(); len(r) != 4 {
			t.Errorf("what was waiting at the end: %+v", r)
		}
	})
}
