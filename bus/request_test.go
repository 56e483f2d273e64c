package bus_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/palisade-security/palisade/bus"
)

func TestRequest(t *testing.T) {
	r := newRig(t)
	const id = "spiffe://example/service/web"
	own := "control.echo." + bus.SubjectToken(id)
	client := r.as(t, id, bus.MayRequest(own))
	background(t, func(ctx context.Context) error {
		return r.control.Serve(ctx, bus.ServeOptions{Subject: "control.echo.*", Queue: "q", From: 3, MaxData: 100}, func(_ context.Context, a bus.Asked) ([]byte, error) {
			switch string(a.Data) {
			case "refuse":
				return nil, &bus.Refusal{Code: bus.Denied, Text: "no"}
			case "fail":
				return nil, errors.New("secret")
			case "large":
				return make([]byte, 5<<20), nil
			}
			return []byte(a.From + " " + string(a.Data)), nil
		})
	})
	ctx := soon(t)
	if got, err := client.Request(ctx, own, []byte("hi")); err != nil || string(got) != id+" hi" {
		t.Fatalf("%q, %v", got, err)
	}
	var told *bus.Refusal
	for _, c := range []struct {
		data []byte
		code bus.Code
	}{{[]byte("refuse"), bus.Denied}, {[]byte("fail"), bus.Failed}, {[]byte("large"), bus.Failed}, {make([]byte, 101), bus.Wrong}} {
		_, err := client.Request(ctx, own, c.data)
		if !errors.As(err, &told) || told.Code != c.code || strings.Contains(err.Error(), "secret") {
			t.Errorf("%.10q: %v, want %s", c.data, err, c.code)
		}
	}
	if _, err := client.Request(ctx, "control.echo."+bus.SubjectToken("spiffe://example/service/other"), nil); !errors.Is(err, bus.ErrNotPermitted) {
		t.Errorf("asking in the name of another: %v", err)
	}
	if _, err := client.Request(ctx, own, make([]byte, 5<<20)); !errors.Is(err, bus.ErrTooLarge) {
		t.Errorf("5 MiB: %v", err)
	}
}

// TestRequestWaits shows that a request waits for its server, and that the server sees a repetition as one.
func TestRequestWaits(t *testing.T) {
	r := newRig(t)
	answer := make(chan []byte, 1)
	asking := make(chan struct{})
	go func() {
		close(asking)
		data, err := r.control.Request(soon(t), "late", []byte("x"))
		if err != nil {
			t.Error(err)
		}
		answer <- data
	}()
	<-asking
	var ids sync.Map
	var times atomic.Int32
	server := r.role(t, bus.Control)
	background(t, func(ctx context.Context) error {
		return server.Serve(ctx, bus.ServeOptions{Subject: "late", Timeout: 3 * time.Second}, func(ctx context.Context, a bus.Asked) ([]byte, error) {
			ids.Store(a.ID, true)
			if times.Add(1) == 1 { // the asker gives up first
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return []byte("done"), nil
		})
	})
	if got := <-answer; !bytes.Equal(got, []byte("done")) {
		t.Fatalf("got %q", got)
	}
	n := 0
	ids.Range(func(any, any) bool { n++; return true })
	if n != 1 || times.Load() < 2 {
		t.Errorf("%d ids in %d tries", n, times.Load())
	}
}

func TestServeBusy(t *testing.T) {
	r := newRig(t)
	server := r.role(t, bus.Control)
	hold := make(chan struct{})
	var once sync.Once
	first := make(chan struct{})
	background(t, func(ctx context.Context) error {
		return server.Serve(ctx, bus.ServeOptions{Subject: "slow", Workers: 1, Waiting: 1}, func(context.Context, bus.Asked) ([]byte, error) {
			once.Do(func() { close(first) })
			<-hold
			return []byte("ok"), nil
		})
	})
	var group sync.WaitGroup
	for range 10 {
		group.Go(func() {
			if _, err := r.control.Request(soon(t), "slow", nil); err != nil {
				t.Error(err)
			}
		})
	}
	<-first
	close(hold)
	group.Wait()
}

// TestServeLate: what has waited for too long is not begun with, since its asker has given it up; asked again, it is answered.
func TestServeLate(t *testing.T) {
	r := newRig(t)
	server := r.role(t, bus.Control)
	hold, holding := make(chan struct{}), make(chan struct{})
	var begun sync.Map
	var once sync.Once
	background(t, func(ctx context.Context) error {
		return server.Serve(ctx, bus.ServeOptions{Subject: "late", Workers: 1}, func(_ context.Context, a bus.Asked) ([]byte, error) {
			if string(a.Data) == "slow" {
				once.Do(func() { close(holding) })
				<-hold
			}
			n, _ := begun.LoadOrStore(string(a.Data), new(atomic.Int32))
			n.(*atomic.Int32).Add(1)
			return []byte("ok"), nil
		})
	})
	var group sync.WaitGroup
	ask := func(what string) {
		if _, err := r.control.Request(soon(t), "late", []byte(what)); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	group.Go(func() { ask("slow") })
	<-holding
	group.Go(func() { ask("quick") })
	// The quick one is asked for twice and more while the slow one is at it: all but the last are too old then.
	impatient, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := r.control.Request(impatient, "late", []byte("gone")); err == nil {
		t.Error("answered, while the only worker was busy")
	}
	close(hold)
	group.Wait()
	if n, known := begun.Load("gone"); known && n.(*atomic.Int32).Load() > 1 {
		t.Errorf("what was given up was done %d times", n.(*atomic.Int32).Load())
	}
}
