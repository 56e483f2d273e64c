package upstream_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/palisade-security/palisade/proxy/upstream"
)

// TestStress sends hundreds of requests at once and cancels some at random moments. Each answer must belong to
// its request, and nothing may be left running.
func TestStress(t *testing.T) {
	before := runtime.NumGoroutine()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		_, _ = io.WriteString(w, r.URL.Path+" ")
		_ = http.NewResponseController(w).Flush()
		_, _ = io.Copy(w, r.Body)
	}))
	p := upstream.NewPool(upstream.Options{Address: s.Listener.Addr().String(), MaxIdle: 32, MaxConns: 64, Dial: 30 * time.Second})
	var wg sync.WaitGroup
	for worker := range 200 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(worker), 1))
			for i := range 20 {
				if err := stressOnce(t.Context(), p, random, fmt.Sprintf("/%d/%d", worker, i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	p.Close()
	s.Close()
	for runtime.NumGoroutine() > before {
		runtime.Gosched() // those about to end; the test's own time limit bounds this
	}
}

func stressOnce(ctx context.Context, p *upstream.Pool, random *rand.Rand, path string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	canceled := random.IntN(3) == 0
	if canceled {
		stop := time.AfterFunc(time.Duration(random.IntN(3000))*time.Microsecond, cancel)
		defer stop.Stop()
	}
	q := get(path)
	body := strings.Repeat("x", random.IntN(100_000))
	if random.IntN(2) == 0 {
		q.Method, q.Length = "POST", int64(len(body))
		q.Body = bytes.NewReader([]byte(body))
		if random.IntN(2) == 0 {
			q.Length = -1
		}
	} else {
		body = ""
	}
	if q.Length == 0 {
		body, q.Body = "", nil
	}
	r, err := p.Do(ctx, q)
	var got []byte
	if err == nil {
		got, err = io.ReadAll(r.Body)
		_ = r.Body.Close()
	}
	switch {
	case err == nil && string(got) != path+" "+body:
		return fmt.Errorf("%s: wrong answer %.40q of %d bytes", path, got, len(got))
	case err != nil && (!canceled || !errors.Is(err, context.Canceled)):
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
