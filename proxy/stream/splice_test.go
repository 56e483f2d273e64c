package stream

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// sockets returns the two ends of a connection over loopback.
func sockets(t *testing.T) (a, b *net.TCPConn) {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	d, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(); _ = d.Close() })
	return c.(*net.TCPConn), d.(*net.TCPConn)
}

// TestInterruptions holds that no byte is lost or doubled however often the kernel is interrupted, by reading from
// one side and writing to the other in pieces of all sizes.
func TestInterruptions(t *testing.T) {
	const size = 64 << 20
	client, near := sockets(t)
	far, service := sockets(t)
	d := &direction{pool: newBuffers(), src: near, dst: far, readCause: CutClient, writeCause: CutUpstream}

	sent, got := sha256.New(), sha256.New()
	var all sync.WaitGroup
	all.Go(func() {
		r := rand.New(rand.NewPCG(1, 2))
		block := make([]byte, 1<<20)
		for i := range block {
			block[i] = byte(r.Uint32())
		}
		for left := size; left > 0; {
			n := min(left, 1+r.IntN(len(block)))
			sent.Write(block[:n])
			if _, err := client.Write(block[:n]); err != nil {
				t.Error(err)
				return
			}
			left -= n
		}
		_ = client.CloseWrite()
	})
	all.Go(func() { _, _ = io.Copy(struct{ io.Writer }{got}, service) })
	done, cancel := context.WithCancel(t.Context())
	spliced := 0
	all.Go(func() {
		for done.Err() == nil {
			if d.spliced.Load() {
				spliced++
			}
			_ = near.SetReadDeadline(time.Now())
		}
	})
	cause, err := d.pump()
	cancel()
	if err != nil {
		t.Fatalf("%s: %v", cause, err)
	}
	_ = far.CloseWrite()
	all.Wait()
	if d.moved.Load() != size || !bytes.Equal(sent.Sum(nil), got.Sum(nil)) {
		t.Errorf("%d of %d bytes, or others", d.moved.Load(), size)
	}
	if spliced == 0 {
		t.Error("the kernel was not asked")
	}
}

// TestSpliceBreaks tells which side broke while the kernel moved bytes.
func TestSpliceBreaks(t *testing.T) {
	for name, want := range map[string]string{"source": CutClient, "destination": CutUpstream} {
		t.Run(name, func(t *testing.T) {
			client, near := sockets(t)
			far, service := sockets(t)
			d := &direction{pool: newBuffers(), src: near, dst: far, readCause: CutClient, writeCause: CutUpstream}
			var all sync.WaitGroup
			all.Go(func() {
				block := make([]byte, 1<<20)
				for {
					if _, err := client.Write(block); err != nil {
						return
					}
				}
			})
			all.Go(func() {
				buf := make([]byte, 64<<10)
				for total := 0; total < 64<<20; {
					n, err := service.Read(buf)
					if total += n; err != nil {
						return
					}
				}
				end := client
				if name == "destination" {
					end = service
				}
				_ = end.SetLinger(0)
				_ = end.Close()
				_, _ = io.Copy(io.Discard, service)
			})
			cause, err := d.pump()
			if cause != want || err == nil || errors.Is(err, io.EOF) {
				t.Errorf("got %s: %v", cause, err)
			}
			_, _, _, _ = near.Close(), far.Close(), client.Close(), service.Close()
			all.Wait()
		})
	}
}
