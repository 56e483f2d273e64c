package reliability

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

// request is what a client saw of one request.
type request struct {
	trace string    // W3C trace id, by which the records of all proxies are found
	begun time.Time // when it was sent
	ended time.Time // when it was answered, or failed
	ok    bool      // 200 and the whole answer
	why   string    // if not ok
}

// load sends requests at a steady pace and notes what becomes of each.
type load struct {
	t      *testing.T
	client *http.Client
	url    string
	host   string
	stop   context.CancelFunc
	done   chan struct{}

	mu  sync.Mutex
	all []request
}

const (
	pace     = 10 * time.Millisecond // between two requests
	patience = 5 * time.Second       // of a client
)

// startLoad sends requests to an address until the test or finish ends it.
func startLoad(t *testing.T, address, host string) *load {
	t.Helper()
	l := &load{t: t, url: "https://" + address + "/", host: host, done: make(chan struct{})}
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, MaxIdleConnsPerHost: 64, // the edge's certificate is not what is tested
		DialContext: (&net.Dialer{Timeout: patience}).DialContext,
	}
	l.client = &http.Client{Transport: transport, Timeout: patience}
	ctx, cancel := context.WithCancel(t.Context())
	l.stop = cancel
	go func() {
		defer close(l.done)
		defer transport.CloseIdleConnections()
		l.run(ctx)
	}()
	return l
}

func (l *load) run(ctx context.Context) {
	var open sync.WaitGroup
	defer open.Wait()
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			open.Go(func() {
				r := l.send(context.WithoutCancel(ctx))
				l.mu.Lock()
				defer l.mu.Unlock()
				l.all = append(l.all, r)
			})
		}
	}
}

// send sends one request, which continues a trace of its own.
func (l *load) send(ctx context.Context) request {
	id := make([]byte, 24)
	_, _ = rand.Read(id) // never fails
	text := hex.EncodeToString(id)
	r := request{trace: text[:32], begun: time.Now()}
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, l.url, nil)
	if err != nil {
		r.why = err.Error()
		return r
	}
	q.Host = l.host
	q.Header.Set("Traceparent", "00-"+text[:32]+"-"+text[32:]+"-00")
	resp, err := l.client.Do(q)
	if err == nil {
		var body []byte
		body, err = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		r.ok = err == nil && resp.StatusCode == http.StatusOK && string(body) == answer
		r.why = resp.Status + " " + string(body)
	}
	if err != nil {
		r.why = err.Error()
	}
	r.ended = time.Now()
	return r
}

// seen returns what became of the requests so far, by when they were sent.
func (l *load) seen() []request {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := slices.Clone(l.all)
	slices.SortFunc(out, func(a, b request) int { return a.begun.Compare(b.begun) })
	return out
}

// smooth waits until requests have been answered without a gap for a while.
func (l *load) smooth(what string, since time.Time, d time.Duration) {
	l.t.Helper()
	eventually(l.t, what, func() bool {
		from, n := time.Now().Add(-d), 0
		if from.Before(since) {
			return false
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, r := range slices.Backward(l.all) {
			if r.ended.Before(from) {
				break
			}
			if !r.ok {
				return false
			}
			n++
		}
		return n >= int(d/pace)/4 // two cores run all of it
	})
}

// finish ends the load and returns all it saw.
func (l *load) finish() []request {
	l.stop()
	<-l.done
	return l.seen()
}

// lost counts the requests that were not answered well, and says when the last of them was sent.
func lost(all []request) (n int, last time.Time) {
	for _, r := range all {
		if !r.ok {
			n, last = n+1, r.begun
		}
	}
	return n, last
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	patiently(t, what, time.Minute, holds, func() string { return "" })
}

// eventuallyElse is eventually, with more to say if it waits in vain.
func eventuallyElse(t *testing.T, what string, holds func() bool, say func() string) {
	t.Helper()
	patiently(t, what, time.Minute, holds, say)
}

func patiently(t *testing.T, what string, most time.Duration, holds func() bool, say func() string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), most)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain: %s\n%s", what, say())
		case <-tick.C:
		}
	}
}

// oneShot is a client that opens a connection for each request.
func oneShot() *http.Client {
	return &http.Client{Timeout: patience, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true,
	}}
}
