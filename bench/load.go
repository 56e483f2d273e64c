package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// exchanger sends the same request again and again.
type exchanger interface {
	do() error // sends it and reads the answer, which must be the expected one
	close()
}

// client is one keep-alive connection of HTTP/1.1.
type client struct {
	conn    net.Conn
	request []byte
	buf     []byte
}

// dial opens a connection for HTTP/1.1, over TLS 1.3 if there are roots.
func dial(ctx context.Context, address string, roots *x509.CertPool, request []byte) (*client, error) {
	connect := new(net.Dialer).DialContext
	if roots != nil {
		d := tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: host, MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"}}}
		connect = d.DialContext
	}
	c, err := connect(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", address, err)
	}
	return &client{conn: c, request: request, buf: make([]byte, 16<<10)}, nil
}

func (c *client) close() { _ = c.conn.Close() } // nothing is lost with a connection at rest

// do sends the request and reads the answer, which must be 200 with a body of answerBytes. The proxies measured
// here all declare a length; anything else is an error.
func (c *client) do() error {
	if err := c.conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	if _, err := c.conn.Write(c.request); err != nil {
		return fmt.Errorf("sending: %w", err)
	}
	n, head := 0, -1
	for head < 0 {
		m, err := c.conn.Read(c.buf[n:])
		if err != nil {
			return fmt.Errorf("reading an answer's head: %w", err)
		}
		n += m
		if head = bytes.Index(c.buf[:n], []byte("\r\n\r\n")); head < 0 && n == len(c.buf) {
			return fmt.Errorf("an answer's head is longer than %d bytes", n)
		}
	}
	if !bytes.HasPrefix(c.buf[:n], []byte("HTTP/1.1 200 ")) {
		return fmt.Errorf("answer: %.300q", c.buf[:n])
	}
	length, err := contentLength(c.buf[:head+2])
	if err != nil {
		return err
	}
	if length != answerBytes {
		return fmt.Errorf("answer of %d bytes: %.300q", length, c.buf[:n])
	}
	if rest := head + 4 + length - n; rest > 0 {
		if _, err := io.ReadFull(c.conn, c.buf[n:n+rest]); err != nil {
			return fmt.Errorf("reading an answer's body: %w", err)
		}
	} else if rest < 0 {
		return fmt.Errorf("%d bytes more than the answer", -rest)
	}
	return nil
}

func contentLength(head []byte) (int, error) {
	for line := range bytes.SplitSeq(head, []byte("\r\n")) {
		if len(line) > 15 && line[0]|0x20 == 'c' && bytes.EqualFold(line[:15], []byte("content-length:")) {
			return strconv.Atoi(string(bytes.TrimSpace(line[15:])))
		}
	}
	return 0, fmt.Errorf("answer without a length: %.300q", head)
}

// fleet is all that send to one proxy at once.
type fleet []exchanger

func dialAll(ctx context.Context, address string, roots *x509.CertPool, requests [][]byte, n int) (fleet, error) {
	var f fleet
	for i := range n {
		c, err := dial(ctx, address, roots, requests[i%len(requests)])
		if err != nil {
			f.close()
			return nil, err
		}
		f = append(f, c)
	}
	return f, nil
}

func (f fleet) close() {
	for _, c := range f {
		c.close()
	}
}

// send sends n requests, every connection one after the other. With a pace above zero requests start at that
// many per second, and the time a request had to wait for a free connection counts as its own, so that a slow
// answer is not hidden by the requests it held up. It returns the sorted latencies.
func (f fleet) send(ctx context.Context, n, perSecond int) ([]time.Duration, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var wg sync.WaitGroup
	took := make([][]time.Duration, len(f))
	start := time.Now()
	for i, c := range f {
		wg.Go(func() {
			took[i] = make([]time.Duration, 0, 2*n/len(f)+16)
			for k := next.Add(1) - 1; k < int64(n) && ctx.Err() == nil; k = next.Add(1) - 1 {
				begin := time.Now()
				if perSecond > 0 {
					due := start.Add(time.Duration(k) * time.Second / time.Duration(perSecond))
					if wait := due.Sub(begin); wait > 0 {
						time.Sleep(wait)
						begin = time.Now()
					} else {
						begin = due
					}
				}
				if err := c.do(); err != nil {
					cancel(err)
					return
				}
				took[i] = append(took[i], time.Since(begin))
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	all := slices.Concat(took...)
	slices.Sort(all)
	return all, nil
}
