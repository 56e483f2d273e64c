// Package syslog sends events to syslog servers: RFC 5424 messages over TLS (RFC 5425) or TCP, framed by their length (RFC
// 6587, section 3.4.1). The message is the event as recorded (OCSF, JSON); what one searches by stands in structured data.
//
// Syslog has no acknowledgements. Each batch therefore has a connection of its own: we end it, and the batch counts as
// taken when the server has ended its side in order (RFC 5425, section 4.4), which it does behind the last message.
package syslog

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/palisade-security/palisade/sink"
)

// Options say where messages go.
type Options struct {
	Address  string      // host:port
	TLS      *tls.Config // nil: TCP without it
	Hostname string      // in the header; default none
}

// Bound keeps connections short.
func Bound() sink.Bound { return sink.Bound{Records: 5000, Bytes: 8 << 20} }

// Target is one server.
type Target struct {
	opts Options
	dial net.Dialer
}

// New connects with each batch.
func New(o Options) *Target { return &Target{opts: o, dial: net.Dialer{Timeout: 10 * time.Second}} }

// ending is a connection whose writing half can be ended.
type ending interface {
	net.Conn
	CloseWrite() error
}

func (t *Target) connect(ctx context.Context) (ending, error) {
	c, err := t.dial.DialContext(ctx, "tcp", t.opts.Address)
	if err != nil {
		return nil, err
	}
	if t.opts.TLS == nil {
		if plain, ok := c.(*net.TCPConn); ok {
			return plain, nil
		}
		return nil, errors.Join(errors.New("not a TCP connection"), c.Close())
	}
	secured := tls.Client(c, t.opts.TLS)
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return secured, nil
}

// Send is sink.Target's.
func (t *Target) Send(ctx context.Context, records []sink.Record) error {
	c, err := t.connect(ctx)
	if err != nil {
		return fmt.Errorf("connecting to %s: %w", t.opts.Address, err)
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })()
	if _, err := c.Write(t.frames(records)); err != nil {
		return fmt.Errorf("sending to %s: %w", t.opts.Address, err)
	}
	if err := c.CloseWrite(); err != nil {
		return fmt.Errorf("sending to %s: %w", t.opts.Address, err)
	}
	// Servers say nothing. Some end TLS without a word: the end of TCP tells as much.
	if _, err := io.Copy(io.Discard, io.LimitReader(c, 1<<10)); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("waiting for %s to end the connection: %w", t.opts.Address, err)
	}
	return nil
}

// frames are messages, each behind its length.
func (t *Target) frames(records []sink.Record) []byte {
	var out bytes.Buffer
	var text []byte
	for i := range records {
		text = Append(text[:0], records[i].Event, t.opts.Hostname)
		out.WriteString(strconv.Itoa(len(text)))
		out.WriteByte(' ')
		out.Write(text)
	}
	return out.Bytes()
}
