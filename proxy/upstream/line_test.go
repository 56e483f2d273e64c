package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// counted counts how often a deadline is moved.
type counted struct {
	net.Conn
	moved int
}

func (c *counted) SetDeadline(t time.Time) error {
	c.moved++
	return c.Conn.SetDeadline(t)
}

// TestLine lets exchanges meet the short deadline, their own, and the end of their context.
func TestLine(t *testing.T) {
	const wait = 5 * time.Second
	for name, test := range map[string]struct {
		peer   func(net.Conn)
		cancel time.Duration // after which the context ends; 0: not
		wait   time.Duration
		ends   time.Duration // when the exchange is over
		fails  bool
		whole  bool // the connection can be used again
	}{
		"answer at once":        {peer: answerAfter(0), wait: wait, whole: true},
		"answer after patience": {peer: answerAfter(time.Second), wait: wait, ends: time.Second, whole: true},
		"no answer":             {peer: answerAfter(time.Minute), wait: wait, ends: wait, fails: true, whole: true},
		"impatient":             {peer: answerAfter(time.Minute), wait: patience / 4, ends: patience / 4, fails: true, whole: true},
		"canceled early":        {peer: answerAfter(time.Minute), wait: wait, cancel: patience / 2, ends: patience, fails: true},
		"canceled late":         {peer: answerAfter(time.Minute), wait: wait, cancel: time.Second, ends: time.Second, fails: true},
		"reads slowly":          {peer: readThenAnswer(time.Second), wait: wait, ends: 2 * time.Second, whole: true},
		"reads no more":         {peer: readThenAnswer(time.Minute), wait: wait, ends: wait, fails: true, whole: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				var peer sync.WaitGroup
				peer.Go(func() { test.peer(theirs) })
				defer peer.Wait()
				defer ours.Close()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if test.cancel > 0 {
					time.AfterFunc(test.cancel, cancel)
				}
				l := &line{Conn: ours}
				began := time.Now()
				if err := l.begin(ctx, began, began.Add(test.wait)); err != nil {
					t.Fatal(err)
				}
				n, err := l.Write([]byte("question"))
				if err == nil {
					_, err = io.ReadFull(l, make([]byte, len("answer")))
				} else if n != len("ques") && n != 0 {
					t.Errorf("%d bytes are written, not those that were read", n)
				}
				if got := time.Since(began); got != test.ends || (err != nil) != test.fails {
					t.Errorf("over after %v with %v", got, err)
				}
				if got := l.finish(); got != test.whole {
					t.Errorf("finish is %v", got)
				}
			})
		})
	}
}

func answerAfter(wait time.Duration) func(net.Conn) {
	return func(c net.Conn) {
		_, _ = io.ReadFull(c, make([]byte, len("question")))
		time.Sleep(wait)
		_, _ = c.Write([]byte("answer"))
	}
}

// readThenAnswer waits before it reads, and again after the first bytes.
func readThenAnswer(wait time.Duration) func(net.Conn) {
	return func(c net.Conn) {
		for range 2 {
			time.Sleep(wait)
			_, _ = io.ReadFull(c, make([]byte, len("ques")))
		}
		_, _ = c.Write([]byte("answer"))
	}
}

// TestLineKeepsDeadline has many quick exchanges share one deadline, and none run into that of another.
func TestLineKeepsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		var peer sync.WaitGroup
		peer.Go(func() { _, _ = io.Copy(theirs, theirs) })
		defer peer.Wait()
		defer ours.Close()
		c := &counted{Conn: ours}
		l := &line{Conn: c}
		for range 100 {
			now := time.Now()
			if err := l.begin(t.Context(), now, now.Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
			if _, err := l.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(l, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			if l.watched || !l.finish() {
				t.Fatal("a quick exchange is watched")
			}
			time.Sleep(time.Millisecond)
		}
		if c.moved != 2 {
			t.Errorf("the deadline was moved %d times", c.moved)
		}
		// An exchange after a pause, when the deadline has passed.
		time.Sleep(time.Second)
		now := time.Now()
		if err := l.begin(t.Context(), now, now.Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Write([]byte(strings.Repeat("x", 10))); err != nil || l.watched {
			t.Fatal("the deadline of an earlier exchange", err)
		}
	})
}

// TestLineTLS has a peer read and answer late: the short deadline that is met on the way leaves TLS whole.
func TestLineTLS(t *testing.T) {
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS()
	certs, roots := server.TLS.Certificates, x509.NewCertPool()
	roots.AddCert(server.Certificate())
	server.Close()
	question := strings.Repeat("question", 5_000) // several records
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		var peer sync.WaitGroup
		peer.Go(func() {
			c := tls.Server(theirs, &tls.Config{Certificates: certs})
			got := make([]byte, len(question))
			for c.Handshake() == nil {
				time.Sleep(time.Second)
				if _, err := io.ReadFull(c, got); err != nil || string(got) != question {
					return
				}
				time.Sleep(time.Second)
				_, _ = c.Write([]byte("answer"))
			}
		})
		defer peer.Wait()
		defer ours.Close()
		l := &line{Conn: ours}
		c := tls.Client(l, &tls.Config{RootCAs: roots, ServerName: "example.com"})
		if err := c.HandshakeContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			now := time.Now()
			if err := l.begin(t.Context(), now, now.Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(c, question); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(c, make([]byte, len("answer"))); err != nil {
				t.Fatal(err)
			}
			if !l.watched || !l.finish() {
				t.Fatal("a slow exchange is not watched, or not whole")
			}
		}
	})
}
