package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	h2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// streamsPerConn is how many streams share a connection: a service has a few connections to its sidecar.
const streamsPerConn = 8

// stream sends the same request again and again, each time on a new stream of its connection.
type stream struct {
	c       *streams
	answers chan answer // one
}

// answer is what came of a request.
type answer struct {
	status string // :status
	grpc   string // grpc-status, "" if there was none
	length int    // of the content
	err    error
}

// streams is a connection of HTTP/2 (RFC 9113) with prior knowledge. It does what a load generator needs and no more.
type streams struct {
	conn    net.Conn
	message []byte // content of requests
	grpc    bool
	owed    uint32 // bytes read and not yet credited; the reader's

	mu     sync.Mutex // guards what follows, and writing
	framer *h2.Framer
	fields []byte // the request's header, all of it in the dynamic table
	first  []byte // the same for the first request, which fills the table; nil once it was sent
	next   uint32
	open   map[uint32]*stream
	window int64 // bytes that may be sent on the connection
	room   *sync.Cond
	failed error
}

// fields are the header of a request over HTTP/2.
func (s shape) fields(speaks protocol) []hpack.HeaderField {
	out := []hpack.HeaderField{{Name: ":method", Value: s.method}, {Name: ":scheme", Value: "http"}, {Name: ":path", Value: s.target}, {Name: ":authority", Value: host}}
	if speaks == grpc {
		return append(out, hpack.HeaderField{Name: "content-type", Value: "application/grpc"}, hpack.HeaderField{Name: "user-agent", Value: "grpc-go/1.83.2"}, hpack.HeaderField{Name: "te", Value: "trailers"})
	}
	return append(out, hpack.HeaderField{Name: "user-agent", Value: "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"},
		hpack.HeaderField{Name: "accept", Value: "application/json"}, hpack.HeaderField{Name: "accept-language", Value: "en-GB,en;q=0.5"})
}

// message is the content of a request, for gRPC with its prefix
// (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md).
func (s shape) message(speaks protocol) []byte {
	if speaks == grpc {
		return framed([]byte(s.body))
	}
	return []byte(s.body)
}

func framed(message []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
}

// dialStreams opens n streams on connections to address.
func dialStreams(ctx context.Context, address string, header []hpack.HeaderField, message []byte, n int) (fleet, error) {
	var f fleet
	for len(f) < n {
		c, err := dialStreamsOnce(ctx, address, header, message)
		if err != nil {
			f.close()
			return nil, err
		}
		for range min(streamsPerConn, n-len(f)) {
			f = append(f, &stream{c: c, answers: make(chan answer, 1)})
		}
	}
	return f, nil
}

func dialStreamsOnce(ctx context.Context, address string, header []hpack.HeaderField, message []byte) (*streams, error) {
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", address, err)
	}
	c := &streams{conn: nc, message: message, framer: h2.NewFramer(nc, nc), next: 1, open: map[uint32]*stream{}, window: 65535}
	c.room = sync.NewCond(&c.mu)
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, to := range []*[]byte{&c.first, &c.fields} {
		block.Reset()
		for _, f := range header {
			if err := enc.WriteField(f); err != nil {
				return nil, errors.Join(err, nc.Close())
			}
			c.grpc = c.grpc || f.Value == "application/grpc"
		}
		*to = bytes.Clone(block.Bytes())
	}
	if err := c.begin(); err != nil {
		return nil, errors.Join(fmt.Errorf("connecting to %s: %w", address, err), nc.Close())
	}
	go c.read()
	return c, nil
}

// begin sends the preface, with windows that answers never fill.
func (c *streams) begin() error {
	if _, err := io.WriteString(c.conn, h2.ClientPreface); err != nil {
		return err
	}
	if err := c.framer.WriteSettings(h2.Setting{ID: h2.SettingInitialWindowSize, Val: 1 << 20}, h2.Setting{ID: h2.SettingEnablePush, Val: 0}); err != nil {
		return err
	}
	return c.framer.WriteWindowUpdate(0, 1<<30)
}

func (s *stream) close() { _ = s.c.conn.Close() } // nothing is lost with a connection at rest

// do sends one request and waits for its answer.
func (s *stream) do() error {
	if err := s.c.send(s); err != nil {
		return fmt.Errorf("sending: %w", err)
	}
	late := time.NewTimer(30 * time.Second)
	defer late.Stop()
	select {
	case a := <-s.answers:
		return s.c.check(a)
	case <-late.C:
		return errors.New("no answer within 30 s")
	}
}

func (c *streams) check(a answer) error {
	want := answerBytes
	if c.grpc {
		want += len(framed(nil))
	}
	switch {
	case a.err != nil:
		return a.err
	case a.status != "200" || a.length != want || c.grpc && a.grpc != "0":
		return fmt.Errorf("answer: status %q, grpc-status %q, %d bytes", a.status, a.grpc, a.length)
	}
	return nil
}

// send writes a request at once.
func (c *streams) send(s *stream) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.window < int64(len(c.message)) && c.failed == nil {
		c.room.Wait()
	}
	if c.failed != nil {
		return c.failed
	}
	c.window -= int64(len(c.message))
	id, block := c.next, c.fields
	c.next += 2
	c.open[id] = s
	if c.first != nil {
		block, c.first = c.first, nil
	}
	var out bytes.Buffer
	f := h2.NewFramer(&out, nil)
	if err := f.WriteHeaders(h2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndHeaders: true, EndStream: len(c.message) == 0}); err != nil {
		return err
	}
	if len(c.message) > 0 {
		if err := f.WriteData(id, true, c.message); err != nil {
			return err
		}
	}
	_, err := c.conn.Write(out.Bytes())
	return err
}

// read hands answers to their streams until the connection ends.
func (c *streams) read() {
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.framer.SetReuseFrames()
	answers := map[uint32]*answer{}
	var err error
	for err == nil {
		var f h2.Frame
		if f, err = c.framer.ReadFrame(); err == nil {
			err = c.take(f, answers)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed = fmt.Errorf("reading: %w", err)
	for _, s := range c.open {
		s.answers <- answer{err: c.failed}
	}
	c.room.Broadcast()
}

func (c *streams) take(f h2.Frame, answers map[uint32]*answer) error {
	id := f.Header().StreamID
	a := answers[id]
	if a == nil && id != 0 {
		a = &answer{}
		answers[id] = a
	}
	switch f := f.(type) {
	case *h2.MetaHeadersFrame:
		for _, h := range f.Fields {
			switch h.Name {
			case ":status":
				a.status = h.Value
			case "grpc-status":
				a.grpc = h.Value
			}
		}
		c.done(id, f.StreamEnded(), answers)
	case *h2.DataFrame:
		a.length += len(f.Data())
		c.done(id, f.StreamEnded(), answers)
		return c.credit(f.Length)
	case *h2.RSTStreamFrame:
		a.err = fmt.Errorf("the stream was reset: %v", f.ErrCode)
		c.done(id, true, answers)
	case *h2.GoAwayFrame:
		return fmt.Errorf("the connection is given up: %v", f.ErrCode)
	default:
		return c.govern(f)
	}
	return nil
}

// govern takes frames that are about the connection.
func (c *streams) govern(f h2.Frame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch f := f.(type) {
	case *h2.SettingsFrame:
		if !f.IsAck() {
			return c.framer.WriteSettingsAck()
		}
	case *h2.PingFrame:
		if !f.IsAck() {
			return c.framer.WritePing(true, f.Data)
		}
	case *h2.WindowUpdateFrame:
		if f.StreamID == 0 {
			c.window += int64(f.Increment)
			c.room.Broadcast()
		}
	}
	return nil
}

// credit lets the other side send as much again as it has sent, from time to time.
func (c *streams) credit(n uint32) error {
	if c.owed += n; c.owed < 1<<20 {
		return nil
	}
	n, c.owed = c.owed, 0
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.framer.WriteWindowUpdate(0, n)
}

func (c *streams) done(id uint32, ended bool, answers map[uint32]*answer) {
	if !ended {
		return
	}
	a := *answers[id]
	delete(answers, id)
	c.mu.Lock()
	s := c.open[id]
	delete(c.open, id)
	c.mu.Unlock()
	if s != nil {
		s.answers <- a
	}
}
