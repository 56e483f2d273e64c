package engine

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/canon"
	"github.com/palisade-security/palisade/proxy/field"
	"github.com/palisade-security/palisade/proxy/upstream"
)

// forward sends on what was decided about, byte for byte, and streams the answer back.
func (x *exchange) forward() {
	x.req.Trail = append(x.req.Trail, event.Stage{Name: event.StageForward})
	began := x.clock
	svc := x.route.Service
	if x.hoards(len(svc.slots), cap(svc.slots)) {
		x.forwardFailed(began, hoarding())
		return
	}
	select {
	case svc.slots <- struct{}{}:
		defer func() { <-svc.slots }()
	default:
		x.forwardFailed(began, &proxy.Denial{Kind: proxy.KindOverloaded, Reasons: []event.Reason{{Code: "service-in-flight", Text: "the service has as many requests in flight as it may"}}})
		return
	}
	x.ev.Upstream = svc.Address
	out := x.outbound()
	if x.out.Upgrade != "" {
		x.tunnel(out, began)
		return
	}
	resp, err := svc.Transport.Do(x.ctx, out)
	x.reached(began)
	if err != nil {
		x.forwardFailed(began, x.upstreamDenial(err))
		return
	}
	defer resp.Body.Close()
	x.noteUpstream(resp)
	x.settled(nil, began)
	x.relay(resp)
}

// reached notes how long the service took, whatever came of it.
func (x *exchange) reached(began time.Time) {
	x.clock = time.Now()
	x.ev.UpstreamTook = x.clock.Sub(began)
}

// outbound is the request as the service gets it.
func (x *exchange) outbound() *upstream.Request {
	r := &x.req
	if x.table.Side != Outbound { // the sidecar at the other end takes no service's word about clients
		canon.Rebuild(&r.Header, canon.Hop{Client: r.Client, Peer: r.Peer, Scheme: r.Scheme, Host: r.Host, Port: x.out.Port})
	}
	r.Header.Del("Content-Length") // the transport frames the body anew
	r.Header.Set("X-Request-Id", r.ID)
	r.Header.Set("Traceparent", x.trace.header())
	identify(&r.Header, r.User)
	if len(r.Later.Answers) > 0 {
		r.Header.Set("Accept-Encoding", "identity") // filters cannot read a compressed answer
	}
	host := r.Host
	if x.route.Service.Authority != "" {
		host = x.route.Service.Authority
	}
	out := &upstream.Request{
		Method: r.Method, Target: r.Path, Host: host, Header: r.Header,
		Length: r.Body.Length(), HeaderTimeout: x.route.Timeout,
		ExpectContinue: x.out.ExpectContinue,
	}
	if r.RawQuery != "" {
		out.Target = r.Path + "?" + r.RawQuery
	}
	if out.Length != 0 {
		out.Body, out.Rewind, out.Interrupt = r.Body, r.Body.Rewind, x.interrupt
		if b, ok := x.call.Body.(interface{ AtHand() int }); ok {
			out.AtHand = b.AtHand
		}
	}
	return out
}

// identify tells the service who asks. What a client sent under these names is gone since canonicalisation.
func identify(h *field.List, u *proxy.User) {
	if u == nil {
		return
	}
	h.Add("X-Palisade-Subject", fieldValue(u.Subject))
	h.Add("X-Palisade-Provider", fieldValue(u.Provider))
	if len(u.Roles) > 0 {
		h.Add("X-Palisade-Roles", fieldValue(strings.Join(u.Roles, ",")))
	}
}

// fieldValue percent-encodes what a field value must not hold; an issuer chooses subjects freely.
func fieldValue(s string) string {
	clean := func(c byte) bool { return c > 0x20 && c < 0x7f && c != '%' }
	for i := range len(s) {
		if clean(s[i]) {
			continue
		}
		var b strings.Builder
		for j := range len(s) {
			if clean(s[j]) {
				b.WriteByte(s[j])
			} else {
				fmt.Fprintf(&b, "%%%02X", s[j])
			}
		}
		return b.String()
	}
	return s
}

// interrupt wakes a read of the client's body that nobody needs any more.
func (x *exchange) interrupt() { x.call.Line.ReadBy(time.Unix(1, 0)) }

func (x *exchange) noteUpstream(resp *upstream.Response) {
	x.ev.UpstreamStatus, x.ev.UpstreamReused, x.ev.Attempts = resp.Status, resp.Reused, resp.Attempts
	if resp.Address != "" {
		x.ev.Upstream = resp.Address
	}
}

func (x *exchange) forwardFailed(began time.Time, d *proxy.Denial) {
	x.noteFailure(d)
	x.settle(d, began)
	x.refuse(d)
}

func (x *exchange) noteFailure(d *proxy.Denial) {
	if failedBehind(d) && x.ev.Aborted == "" {
		x.ev.Aborted = "upstream"
	}
}

// failedBehind reports whether d is a failure behind the gateway, which had let the request pass.
func failedBehind(d *proxy.Denial) bool {
	return d.Kind.Slug == proxy.KindUpstream.Slug || d.Kind.Slug == proxy.KindUpstreamTimeout.Slug
}

// upstreamDenial names what went wrong without telling the client about the inside.
func (x *exchange) upstreamDenial(err error) *proxy.Denial {
	if x.req.Body.Err() != nil {
		return denialFor(err, &x.req)
	}
	if x.ctx.Err() != nil {
		x.ev.Aborted = "client"
		return &proxy.Denial{Kind: proxy.KindUpstream, Reasons: []event.Reason{{Code: "client-gone", Text: "the client went away before the answer"}}}
	}
	kind, reason := failure(err)
	reasons := []event.Reason{reason}
	if open, ok := errors.AsType[*upstream.OpenError](err); ok && open.Cause != nil {
		_, cause := failure(open.Cause)
		reasons = append(reasons, cause)
	}
	return &proxy.Denial{Kind: kind, Reasons: reasons}
}

// failure sorts what went wrong upstream.
func failure(err error) (proxy.Kind, event.Reason) {
	kind, code := proxy.KindUpstream, "upstream-malformed"
	switch {
	case errors.Is(err, upstream.ErrBusy):
		kind, code = proxy.KindOverloaded, "upstream-busy"
	case errors.Is(err, upstream.ErrOpen):
		kind, code = proxy.KindOverloaded, "circuit-open"
	case errors.Is(err, upstream.ErrFailed):
		code = "upstream-unavailable"
	case errors.Is(err, upstream.ErrDial):
		code = "upstream-unreachable"
	case errors.Is(err, upstream.ErrTimeout) || isTimeout(err):
		kind, code = proxy.KindUpstreamTimeout, "upstream-timeout"
	case errors.Is(err, upstream.ErrDisconnected):
		code = "upstream-closed"
	}
	return kind, event.Reason{Code: cmp.Or(proxy.CodeOf(err), code), Text: err.Error()}
}

// buffers are for copying answers; a pool is shared by design.
var buffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// relay streams an answer to the client, unless it is withheld.
func (x *exchange) relay(resp *upstream.Response) {
	if d := x.inspect(resp); d != nil {
		x.noteFailure(d)
		x.refuse(d)
		return
	}
	x.answerHeader(resp)
	x.begin(resp.Status, resp.Length)
	if !x.copyBody(resp) {
		x.abort()
		return
	}
	x.trailer(resp)
}

// trailer sends on the fields behind the answer's content that may stand there.
func (x *exchange) trailer(resp *upstream.Response) {
	if resp.Trailer == nil {
		return
	}
	x.head = x.head[:0]
	for _, f := range resp.Trailer() {
		if !hopByHop(f.Name) && !forbiddenTrailer(f.Name) {
			x.head = append(x.head, f)
		}
	}
	if len(x.head) > 0 {
		x.call.Answer.Trailer(x.head)
	}
}

// copyBody reports whether the whole answer reached the client.
func (x *exchange) copyBody(resp *upstream.Response) bool {
	buf, _ := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	flush := resp.Length < 0
	for {
		n, err := resp.Body.Read(*buf)
		if n > 0 {
			x.call.Line.WriteWithin(x.table.Write)
			m, werr := x.call.Answer.Write((*buf)[:n])
			x.ev.BytesOut += int64(m)
			if werr != nil {
				x.ev.Aborted = "client"
				return false
			}
			if flush && err == nil {
				if werr = x.call.Answer.Flush(); werr != nil {
					x.ev.Aborted = "client"
					return false
				}
			}
		}
		if errors.Is(err, io.EOF) {
			return true
		}
		if err != nil {
			x.ev.Aborted = "upstream"
			if x.ctx.Err() != nil {
				x.ev.Aborted = "client"
			}
			return false
		}
	}
}

// joinList writes a list as a header value.
func joinList(l []string) string {
	var out []byte
	for i, s := range l {
		if i > 0 {
			out = append(out, ", "...)
		}
		out = append(out, s...)
	}
	return string(out)
}
