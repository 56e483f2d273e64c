package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/palisade-security/palisade/proxy/field"
)

// Standard is a Transport over HTTP/2 (RFC 9113), for gRPC above all, on the standard library's transport. It
// does not fall back to HTTP/1.1 and cannot switch protocols.
type Standard struct {
	options Options
	scheme  string
	dialer  *dialer
	slots   chan struct{} // one per exchange

	current atomic.Pointer[standardLife]
	mu      sync.Mutex // held while current is replaced
}

// NewStandard returns a Standard for one service: over TLS, or with h2c over plain TCP with prior knowledge.
// Options.MaxConns bounds the requests in flight; MaxIdle and Retries are left to the standard transport.
func NewStandard(o Options, h2c bool) *Standard {
	o = o.resolved()
	s := &Standard{options: o, scheme: "https", slots: make(chan struct{}, o.MaxConns)}
	switch {
	case h2c:
		s.scheme, o.TLS = "http", nil
	case o.TLS == nil:
		o.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	s.dialer = newDialer(o, "h2")
	s.current.Store(s.life(s.dialer.trust.renewal()))
	return s
}

// Close closes idle connections. Exchanges in flight go on, and requests that began before a new transport took
// over may still come: theirs are kept for Options.Idle at most.
func (s *Standard) Close() { s.current.Load().transport.CloseIdleConnections() }

// Do sends r and returns the answer's head and streaming body. Request trailers must be announced in r.Header.
func (s *Standard) Do(ctx context.Context, r *Request) (*Response, error) {
	resp, _, err := s.try(ctx, r, false)
	return resp, err
}

// try is Do that also tells whether r may be sent again after an error, which only its caller does. The standard
// transport chooses connections itself.
func (s *Standard) try(ctx context.Context, r *Request, _ bool) (*Response, again, error) {
	select {
	case s.slots <- struct{}{}:
	default:
		return nil, never, fmt.Errorf("waiting for a stream: %w", ErrBusy)
	}
	x := &standardExchange{owner: s, request: r, parent: ctx, life: s.enter()}
	x.ctx, x.cancel = context.WithCancelCause(ctx)
	resp, err := x.do()
	if err != nil {
		x.end()
		return nil, x.again(err), err
	}
	return resp, never, nil
}

func (s *Standard) inFlight() int { return len(s.slots) }

// standardExchange is one request and its answer. It is the answer's Body too.
type standardExchange struct {
	owner    *Standard
	life     *standardLife
	request  *Request
	response Response
	parent   context.Context //nolint:containedctx // Body.Read reports its end
	ctx      context.Context //nolint:containedctx // the same, ended by timers too
	cancel   context.CancelCauseFunc
	clock    clock
	source   *sourceBody // nil without a body
	body     io.ReadCloser
	over     error
	ended    bool
	informed atomic.Bool // an interim answer came
}

func (x *standardExchange) do() (*Response, error) {
	req, err := x.build()
	if err != nil {
		return nil, err
	}
	x.clock.expire = func() { x.cancel(ErrTimeout) }
	wait := or(x.request.HeaderTimeout, x.owner.options.Header)
	if x.request.hasBody() {
		source := &sourceBody{request: x.request, trailer: req.Trailer, sent: func() { x.clock.start(wait) }}
		x.source, req.Body = source, source
		if x.request.Rewind != nil && x.request.Rewind() {
			req.GetBody = func() (io.ReadCloser, error) {
				if !x.request.Rewind() {
					return nil, ErrBody
				}
				return source, nil
			}
		}
	}
	if x.source == nil {
		x.clock.start(wait)
	}
	resp, err := x.life.transport.RoundTrip(req) //nolint:bodyclose // the exchange closes it
	x.clock.answered()
	if err != nil {
		return nil, x.fault(err)
	}
	if resp.ProtoMajor != 2 {
		_ = resp.Body.Close()
		return nil, malformed("not HTTP/2")
	}
	x.body = resp.Body
	out := &x.response
	out.Status, out.Header, out.Length, out.Attempts = resp.StatusCode, listOf(resp.Header), resp.ContentLength, max(out.Attempts, 1)
	if x.request.Method == "HEAD" || resp.Body == http.NoBody {
		out.Length = 0
	}
	out.Body = x
	out.Trailer = func() field.List { return listOf(resp.Trailer) }
	return out, nil
}

// build turns the request into the standard library's, with the target byte for byte.
func (x *standardExchange) build() (*http.Request, error) {
	r := x.request
	if _, err := appendHead(nil, r, ""); err != nil {
		return nil, err
	}
	target := &url.URL{Scheme: x.owner.scheme, Host: anyHost, Opaque: r.Target}
	if r.Target == "*" {
		target.Opaque, target.Path = "", "*"
	}
	if target.RequestURI() != r.Target {
		return nil, unsendable("target")
	}
	req := (&http.Request{
		Method: r.Method, URL: target, Host: r.Host, Header: make(http.Header, len(r.Header)+2), Body: http.NoBody,
		Proto: "HTTP/2.0", ProtoMajor: 2, ContentLength: r.Length,
	}).WithContext(httptrace.WithClientTrace(x.ctx, x.trace()))
	req.Header["User-Agent"] = []string{""} // or the library adds its own
	for _, f := range r.Header {
		x.addField(req, f)
	}
	if r.hasBody() && r.ExpectContinue {
		req.Header["Expect"] = []string{"100-continue"}
	}
	return req, nil
}

func (x *standardExchange) addField(req *http.Request, f field.Field) {
	name := textproto.CanonicalMIMEHeaderKey(f.Name)
	switch ownership(name) {
	case ownedTE:
		if hasToken(f.Value, "trailers") {
			req.Header["Te"] = []string{"trailers"}
		}
	case ownedTrailer:
		if x.request.hasBody() && x.request.Trailer != nil && announces(f.Value) {
			if req.Trailer == nil {
				req.Trailer = http.Header{}
			}
			for t := range strings.SplitSeq(f.Value, ",") {
				req.Trailer[textproto.CanonicalMIMEHeaderKey(trimSpace(t))] = nil
			}
		}
	case owned:
		if name == "User-Agent" {
			req.Header[name] = []string{f.Value}
			return
		}
		req.Header[name] = append(req.Header[name], f.Value)
	case ownedAlways:
	}
}

func (x *standardExchange) trace() *httptrace.ClientTrace {
	informational := 0
	return &httptrace.ClientTrace{
		GotConn: func(i httptrace.GotConnInfo) {
			x.response.Attempts++
			x.response.Reused, x.response.Address = i.Reused, i.Conn.RemoteAddr().String()
		},
		Got1xxResponse: func(status int, h textproto.MIMEHeader) error {
			x.informed.Store(true)
			if informational++; informational > mostInformational {
				return malformed("too many interim answers")
			}
			if status != 100 && x.request.Informational != nil {
				x.request.Informational(status, listOf(http.Header(h)))
			}
			return nil
		},
	}
}

func (x *standardExchange) fault(err error) error {
	if x.parent.Err() == nil && errors.Is(context.Cause(x.ctx), ErrTimeout) {
		err = ErrTimeout
	}
	return classify(x.parent, "exchanging with "+x.owner.options.Address, err)
}

// Read reads the answer's body, no longer than the pause allows.
func (x *standardExchange) Read(p []byte) (int, error) {
	if x.ended && x.over == nil {
		return 0, errBodyClosed
	}
	if x.over != nil {
		return 0, x.over
	}
	x.clock.pause(x.owner.options.Pause)
	n, err := x.body.Read(p)
	x.clock.stop()
	if err == nil {
		return n, nil
	}
	if x.over = err; err != io.EOF {
		x.over = x.fault(err)
		x.end()
	}
	return n, x.over
}

// Close ends the exchange; a body not read to its end resets the stream.
func (x *standardExchange) Close() error {
	if x.ended {
		return nil
	}
	err := x.body.Close()
	x.end()
	return err
}

func (x *standardExchange) end() {
	if x.ended {
		return
	}
	x.ended = true
	x.clock.stop()
	x.cancel(context.Canceled)
	if x.source != nil {
		x.source.release()
	}
	x.owner.leave(x.life)
	<-x.owner.slots
}

// again tells whether the request of an exchange that ended with err may be sent again, by the rules of Pool.Do.
func (x *standardExchange) again(err error) again {
	connected := x.response.Attempts > 0
	harmless := x.response.Reused && idempotent(x.request.Method) && !x.informed.Load() && !isTimeout(err) && !errors.Is(err, ErrTimeout)
	switch {
	case x.parent.Err() != nil, connected && !harmless, errors.Is(err, ErrRequest), errors.Is(err, ErrBody):
		return never
	case !x.source.restart():
		return never
	case connected || errors.Is(err, ErrDial):
		return anywhere
	}
	return elsewhere
}

// listOf lists fields by name, so that the order does not depend on a map's.
func listOf(h http.Header) field.List {
	n := 0
	names := make([]string, 0, len(h))
	for name, values := range h {
		names = append(names, name)
		n += len(values)
	}
	slices.Sort(names)
	list := make(field.List, 0, n)
	for _, name := range names {
		for _, v := range h[name] {
			list = append(list, field.Field{Name: name, Value: v})
		}
	}
	return list
}
