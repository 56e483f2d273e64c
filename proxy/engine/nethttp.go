package engine

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/palisade-security/palisade/proxy/field"
)

// HTTP returns h as a handler of net/http, whose server speaks HTTP/2. Protocols cannot be switched over it.
func HTTP(h Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, hr *http.Request) {
		if !h.Serve(hr.Context(), callOf(w, hr)) {
			panic(http.ErrAbortHandler) // which cuts the stream
		}
	})
}

// connKey is the key of a connection's facts in its context.
type connKey struct{}

// WithConn lets the requests of a connection that net/http serves find what they have in common.
func WithConn(ctx context.Context, c *Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// overHTTP is a call that net/http brought, with its ways to be answered.
type overHTTP struct {
	Call
	w     http.ResponseWriter
	rc    *http.ResponseController
	until time.Time // write deadline in force
}

// callOf returns the call that hr is.
func callOf(w http.ResponseWriter, hr *http.Request) *Call {
	o := &overHTTP{w: w, rc: http.NewResponseController(w)}
	o.Call = Call{
		Method: hr.Method, Target: hr.RequestURI, Host: hr.Host, Proto: hr.Proto,
		Header: make(field.List, 0, len(hr.Header)+1), Length: hr.ContentLength, Answer: o, Line: o,
	}
	if hr.Body != nil {
		o.Body = hr.Body
	}
	var known bool
	if o.Conn, known = hr.Context().Value(connKey{}).(*Conn); !known {
		o.Conn = NewConn("", hr.RemoteAddr, hr.TLS)
	}
	for name, values := range hr.Header {
		for _, v := range values {
			o.Header = append(o.Header, field.Field{Name: name, Value: v})
		}
	}
	for _, coding := range hr.TransferEncoding {
		o.Header.Add("Transfer-Encoding", coding)
	}
	return &o.Call
}

// Begin implements Answer.
func (o *overHTTP) Begin(status int, h field.List, length int64) {
	out := o.w.Header()
	out["Content-Type"] = nil // else net/http would guess one
	for _, f := range h {
		out[f.Name] = append(out[f.Name], f.Value) // names are canonical
	}
	if o.Method != http.MethodHead && status != http.StatusNoContent && status != http.StatusNotModified {
		delete(out, "Content-Length")
		if length >= 0 {
			out["Content-Length"] = []string{strconv.FormatInt(length, 10)}
		}
	}
	o.w.WriteHeader(status)
}

// Write implements Answer.
func (o *overHTTP) Write(p []byte) (int, error) {
	if o.Method == http.MethodHead {
		return len(p), nil
	}
	return o.w.Write(p)
}

// Flush implements Answer.
func (o *overHTTP) Flush() error { return o.rc.Flush() }

// Trailer implements Answer.
func (o *overHTTP) Trailer(h field.List) {
	for _, f := range h {
		o.w.Header().Add(http.TrailerPrefix+f.Name, f.Value)
	}
}

// ReadBy implements Line. A writer without deadlines (a test recorder) is bounded by its own test.
func (o *overHTTP) ReadBy(t time.Time) { _ = o.rc.SetReadDeadline(t) }

// WriteWithin implements Line. The deadline moves only when it would move far enough, since moving it costs a timer.
func (o *overHTTP) WriteWithin(d time.Duration) {
	if until := time.Now().Add(d); until.Sub(o.until) > d/8 {
		o.until = until
		_ = o.rc.SetWriteDeadline(until) // see ReadBy
	}
}

// Switch implements Line.
func (o *overHTTP) Switch(field.List) (net.Conn, error) { return nil, http.ErrNotSupported }
