package upstream_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/palisade-security/palisade/proxy/upstream"
)

const backendVariable = "UPSTREAM_TEST_BACKEND"

// TestBackend is no test: it is the process that others start and kill.
func TestBackend(t *testing.T) {
	address := os.Getenv(backendVariable)
	if address == "" {
		t.Skip("runs as a process of other tests")
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	s := &http.Server{Protocols: protocols, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		time.Sleep(time.Millisecond) // work, so that some is under way when the end comes
		_, _ = w.Write(append([]byte(r.URL.Path), b...))
	})}
	fmt.Println("listening on " + l.Addr().String())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = s.Close()
	}()
	_ = s.Serve(l)
}

// start runs a backend and returns its address and what kills it.
func start(t *testing.T, address string) (string, func()) {
	t.Helper()
	for range 20 { // somebody may have borrowed the port meanwhile
		if at, kill := launch(t, address); at != "" {
			return at, kill
		}
	}
	t.Fatal("the backend does not listen")
	return "", nil
}

func launch(t *testing.T, address string) (string, func()) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestBackend$")
	cmd.Env = append(os.Environ(), backendVariable+"="+address)
	in, err := cmd.StdinPipe() // it ends with us
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = in.Close()
		_ = cmd.Wait()
	})
	t.Cleanup(kill)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if at, ok := strings.CutPrefix(lines.Text(), "listening on "); ok {
			return at, kill
		}
	}
	kill()
	return "", nil
}

var errCut = errors.New("the answer broke off")

// load sends requests from many sides until it is ended.
type load struct {
	t       *testing.T
	b       *upstream.Balancer
	safe    atomic.Int64 // requests that may be repeated, and got their answer
	unsafe  atomic.Int64
	lost    atomic.Int64 // safe ones without an answer
	cut     atomic.Int64 // safe ones whose answer broke off
	lostTo  atomic.Int64 // unsafe ones
	stop    context.CancelFunc
	workers sync.WaitGroup
}

func run(t *testing.T, b *upstream.Balancer, workers int) *load {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	l := &load{t: t, b: b, stop: stop}
	for worker := range workers {
		l.workers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				l.once(fmt.Sprintf("/%d/%d", worker, i), i%10 == 9)
			}
		})
	}
	t.Cleanup(l.end)
	return l
}

func (l *load) once(path string, post bool) {
	r := &upstream.Request{Method: "GET", Target: path, Host: "h"}
	want := path
	if post {
		r.Method, r.Body, r.Length = "POST", strings.NewReader("body"), 4
		want += "body"
	}
	ok, err := l.answered(r, want)
	switch {
	case ok && post:
		l.unsafe.Add(1)
	case ok:
		l.safe.Add(1)
	case post:
		l.lostTo.Add(1)
	case errors.Is(err, errCut):
		l.cut.Add(1)
	default:
		l.lost.Add(1)
		l.t.Logf("lost: %v", err)
	}
}

func (l *load) answered(r *upstream.Request, want string) (bool, error) {
	resp, err := l.b.Do(l.t.Context(), r)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err == nil && string(got) != want {
		l.t.Errorf("asked for %q, got %q", want, got)
	}
	if err != nil {
		return false, fmt.Errorf("%w: %w", errCut, err)
	}
	return true, nil
}

func (l *load) end() {
	l.stop()
	l.workers.Wait()
}

// pass waits until so many more requests have been answered.
func (l *load) pass(n int64) {
	until := l.safe.Load() + n
	for l.safe.Load() < until && l.t.Context().Err() == nil {
		_, _ = l.answered(&upstream.Request{Method: "GET", Target: "/pass", Host: "h"}, "/pass")
	}
}

// TestKill kills one of three services under load and starts it again, several times.
func TestKill(t *testing.T) {
	for name, protocol := range map[string]upstream.Protocol{"HTTP/1.1": upstream.HTTP1, "h2c": upstream.HTTP2} {
		t.Run(name, func(t *testing.T) {
			var addresses []string
			var kill func()
			for range 3 {
				addr, k := start(t, "127.0.0.1:0")
				addresses, kill = append(addresses, addr), k
			}
			b := upstream.NewBalancer(upstream.Options{}, protocol, addresses...)
			defer b.Close()
			l := run(t, b, 16)
			for range 2 {
				l.pass(1000)
				kill()
				l.pass(1000)
				_, kill = start(t, addresses[2])
				before := b.State().Addresses[2].Requests - b.State().Addresses[2].Failed
				for b.State().Addresses[2].Requests-b.State().Addresses[2].Failed < before+100 {
					l.pass(10) // until it is asked again
				}
			}
			l.end()
			s := b.State()
			t.Logf("answered %d, posts %d; lost %d, cut %d, posts %d; %+v", l.safe.Load(), l.unsafe.Load(), l.lost.Load(), l.cut.Load(), l.lostTo.Load(), s)
			// A request that broke on a connection of its own may have been what killed the service: it is not repeated.
			// Everything else that is safe to repeat must have been.
			if s.GivenUp > 0 || l.lost.Load() > 2*2 || s.Circuit != upstream.CircuitClosed {
				t.Errorf("lost %d, given up %d, circuit %v", l.lost.Load(), s.GivenUp, s.Circuit)
			}
		})
	}
}

// TestReplace moves a service to other addresses and back under load: nothing is lost, and the old ones end what they
// were asked.
func TestReplace(t *testing.T) {
	hold, held := make(chan struct{}), make(chan struct{}, 1)
	var addresses []string
	for range 4 {
		addresses = append(addresses, serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/hold" {
				held <- struct{}{}
				<-hold
			}
			b, _ := io.ReadAll(r.Body)
			_, _ = w.Write(append([]byte(r.URL.Path), b...))
		}))
	}
	b := upstream.NewBalancer(upstream.Options{}, upstream.HTTP1, addresses[:2]...)
	defer b.Close()
	l := run(t, b, 8)
	answer := make(chan error, 1)
	go func() {
		resp, err := b.Do(t.Context(), get("/hold"))
		if err == nil {
			_, err = io.ReadAll(resp.Body)
			err = errors.Join(err, resp.Body.Close())
		}
		answer <- err
	}()
	<-held
	for range 20 {
		b.Replace(addresses[2:])
		l.pass(50)
		b.Replace(slices.Concat(addresses[3:], addresses[3:]))
		l.pass(50)
		b.Replace(addresses[:2])
		l.pass(50)
	}
	b.Replace(addresses[3:])
	s := b.State()
	if len(s.Addresses) < 2 || s.Addresses[0].Draining || !s.Addresses[1].Draining {
		t.Errorf("while one answer is held: %+v", s.Addresses)
	}
	close(hold)
	if err := <-answer; err != nil {
		t.Errorf("what was under way: %v", err)
	}
	l.end()
	if s := b.State(); len(s.Addresses) != 1 || s.Addresses[0].InFlight != 0 || s.Repeats > 0 {
		t.Errorf("in the end: %+v", s)
	}
	if l.lost.Load()+l.lostTo.Load() > 0 {
		t.Errorf("lost %d and %d", l.lost.Load(), l.lostTo.Load())
	}
}
