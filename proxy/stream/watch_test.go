package stream_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/stream"
)

// direct carries without TLS, so that time can be made up.
type direct struct{ far net.Conn }

func (d direct) Carry(_ context.Context, l *stream.Link) error {
	l.Is(event.SideInbound, "tcp")
	if err := l.Authorise(&proxy.Workload{SPIFFEID: id("orders")}); err != nil {
		return err
	}
	if err := l.Hold(d.far); err != nil {
		return err
	}
	return l.Join(l.Client, d.far)
}

// one is a listener of one connection.
type one struct {
	conn chan net.Conn
	done chan struct{}
	once sync.Once
}

func (o *one) Accept() (net.Conn, error) {
	select {
	case c := <-o.conn:
		return c, nil
	case <-o.done:
		return nil, net.ErrClosed
	}
}
func (o *one) Close() error   { o.once.Do(func() { close(o.done) }); return nil }
func (o *one) Addr() net.Addr { return &net.UnixAddr{} }

// TestTimes ends what rests, and what lasts, neither too early nor much too late.
func TestTimes(t *testing.T) {
	for name, c := range map[string]struct {
		bounds   stream.Bounds
		rules    time.Duration // Rules.Idle
		every    time.Duration // a byte; 0: never
		from, to time.Duration // the connection ends between
	}{
		"rests":               {stream.Bounds{Idle: time.Minute}, 0, 0, time.Minute, 91 * time.Second},
		"trickles and lasts":  {stream.Bounds{Idle: time.Minute, Total: 10 * time.Minute}, 0, 59 * time.Second, 10 * time.Minute, 10*time.Minute + time.Second},
		"lasts":               {stream.Bounds{Idle: -1, Total: time.Hour}, 0, 0, time.Hour, time.Hour + time.Second},
		"rests, by the rules": {stream.Bounds{Idle: time.Hour}, time.Minute, 0, time.Minute, 91 * time.Second},
		"rests, in the other": {stream.Bounds{Idle: time.Minute, Total: time.Hour}, 0, 0, time.Minute, 91 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, near := net.Pipe()
				far, service := net.Pipe()
				ln := &one{conn: make(chan net.Conn, 1), done: make(chan struct{})}
				ln.conn <- near
				seen := newRecords()
				s := stream.New(stream.Options{Listener: ln, Carrier: direct{far}, Recorder: seen, Bounds: c.bounds}, &stream.Rules{Callers: stream.Callers("", id("orders")), Idle: c.rules})
				ctx, cancel := context.WithCancel(t.Context())
				var ended sync.WaitGroup
				ended.Go(func() { _ = s.Run(ctx) })
				ended.Go(func() { _, _ = io.Copy(io.Discard, service) })
				if c.every > 0 {
					ended.Go(func() {
						for {
							if _, err := client.Write([]byte{1}); err != nil {
								return
							}
							time.Sleep(c.every) // in the bubble
						}
					})
				}
				began := time.Now()
				_, err := client.Read(make([]byte, 1))
				took := time.Since(began)
				if !errors.Is(err, io.EOF) || took < c.from || took > c.to {
					t.Errorf("ended after %v: %v", took, err)
				}
				cancel()
				_ = client.Close()
				ended.Wait()
				if e := seen.next(t); e.Aborted != stream.CutTimeout || !e.Allowed {
					t.Errorf("got %+v", e)
				}
			})
		})
	}
}
