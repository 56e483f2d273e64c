package engine

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/upstream"
)

// ProblemBase is the stable begin of every problem document's type; the slug of a proxy.Kind ends it.
const ProblemBase = "https://palisade.dev/problems/"

// Problem is an RFC 9457 problem document.
type Problem struct {
	Type      string         `json:"type"`
	Title     string         `json:"title"`
	Status    int            `json:"status"`
	Detail    string         `json:"detail,omitempty"`
	Instance  string         `json:"instance"` // urn:uuid:<request id>
	RequestID string         `json:"request_id"`
	Reasons   []event.Reason `json:"reasons,omitempty"` // in dev mode only
}

func (x *exchange) setDenial(d *proxy.Denial) {
	x.denial = d
	x.ev.Problem = d.Kind.Slug
	for _, reason := range d.Reasons {
		if reason.Data["drift"] == "true" {
			x.ev.Drift = true
		}
	}
}

// refuse answers with a problem document, the only place that does.
func (x *exchange) refuse(d *proxy.Denial) {
	x.setDenial(d)
	if x.answered {
		x.abort()
		return
	}
	if x.ev.Aborted == "client" {
		x.broken = true // without an answer net/http would write an empty 200
		return
	}
	if x.table.Strict && !x.ev.Open {
		if err := x.recordOpen(); err != nil {
			d = denialFor(err, &x.req)
			x.setDenial(d)
		}
	}
	h := x.w.Header()
	x.commonHeader(h)
	for _, f := range d.Header {
		h.Add(f.Name, f.Value)
	}
	h.Set("Cache-Control", "no-store")
	if d.Kind.Status == http.StatusServiceUnavailable && h.Get("Retry-After") == "" {
		h.Set("Retry-After", "1")
	}
	x.extendWrite()
	x.answered = true
	if x.isGRPC() {
		x.refuseGRPC(h, d)
		return
	}
	p := Problem{Type: ProblemBase + d.Kind.Slug, Title: d.Kind.Title, Status: d.Kind.Status, Detail: d.Detail, Instance: "urn:uuid:" + x.req.ID, RequestID: x.req.ID}
	if x.table.Dev {
		p.Reasons = d.Reasons
	}
	body, err := json.Marshal(p)
	if err != nil {
		body = []byte(`{"type":"about:blank"}`)
	}
	if x.malformed() {
		h.Set("Connection", "close") // what follows on this connection cannot be trusted
	}
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Length", strconv.Itoa(len(body)+1))
	h.Set("X-Content-Type-Options", "nosniff")
	x.ev.Status = d.Kind.Status
	x.w.WriteHeader(d.Kind.Status)
	if x.hr.Method != http.MethodHead {
		n, _ := x.w.Write(append(body, '\n')) // a client that is gone cannot be told
		x.ev.BytesOut += int64(n)
	}
}

// malformed reports whether the request was refused before it was understood.
func (x *exchange) malformed() bool { return !x.understood && x.hr.ProtoMajor == 1 }

// isGRPC reports whether the client reads gRPC's own status. HTTP/1.x has no gRPC: there a refusal must not look
// like a success to whoever reads the status line.
func (x *exchange) isGRPC() bool {
	if x.hr.ProtoMajor != 2 || x.hr.Method != http.MethodPost {
		return false
	}
	kind, _, _ := strings.Cut(x.hr.Header.Get("Content-Type"), ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	return kind == "application/grpc" || strings.HasPrefix(kind, "application/grpc+")
}

// refuseGRPC answers with trailers only, as gRPC clients expect
// (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md).
func (x *exchange) refuseGRPC(h http.Header, d *proxy.Denial) {
	h.Set("Content-Type", "application/grpc")
	h.Set("Grpc-Status", strconv.Itoa(grpcCode(d.Kind.Status)))
	h.Set("Grpc-Message", d.Kind.Title+" ("+x.req.ID+")")
	x.ev.Status = http.StatusOK
	x.w.WriteHeader(http.StatusOK)
}

// grpcCode maps an HTTP status to the gRPC status that says the same
// (https://github.com/grpc/grpc/blob/master/doc/statuscodes.md).
func grpcCode(status int) int {
	switch status {
	case http.StatusUnauthorized:
		return 16 // UNAUTHENTICATED
	case http.StatusForbidden:
		return 7 // PERMISSION_DENIED
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return 12 // UNIMPLEMENTED
	case http.StatusTooManyRequests, http.StatusRequestEntityTooLarge, http.StatusRequestHeaderFieldsTooLarge:
		return 8 // RESOURCE_EXHAUSTED
	case http.StatusGatewayTimeout, http.StatusRequestTimeout:
		return 4 // DEADLINE_EXCEEDED
	case http.StatusBadGateway, http.StatusServiceUnavailable:
		return 14 // UNAVAILABLE
	}
	return 3 // INVALID_ARGUMENT
}

// commonHeader is on every answer, the gateway's own and the services'.
func (x *exchange) commonHeader(h http.Header) {
	h["X-Request-Id"] = []string{x.req.ID}
	if v := x.table.HSTS[x.conn.listener]; v != "" && x.hr.TLS != nil {
		h["Strict-Transport-Security"] = []string{v}
	}
	for _, f := range x.req.Answer {
		h[f.Name] = append(h[f.Name], f.Value) // names are canonical
	}
	x.allowOrigin(h)
}

// answerHeader copies what a service answered, hardened.
func (x *exchange) answerHeader(h http.Header, resp *upstream.Response) {
	values := make([]string, 0, len(resp.Header)+4) // one allocation for all
	set := func(name, v string) {
		values = append(values, v)
		h[name] = values[len(values)-1 : len(values) : len(values)]
	}
	setDefault := func(name, v string) {
		if _, ok := h[name]; !ok {
			set(name, v)
		}
	}
	for _, f := range resp.Header {
		if hopByHop(f.Name) || f.Name == "Server" || f.Name == "X-Powered-By" || namedInConnection(resp, f.Name) {
			continue
		}
		v := f.Value
		if f.Name == "Set-Cookie" {
			v = hardenCookie(v)
		}
		if old, ok := h[f.Name]; ok {
			h[f.Name] = append(old, v)
			continue
		}
		set(f.Name, v)
	}
	setDefault("X-Content-Type-Options", "nosniff")
	setDefault("Referrer-Policy", "strict-origin-when-cross-origin")
	if _, ok := h["Content-Security-Policy"]; !ok {
		setDefault("X-Frame-Options", "DENY")
	}
	delete(h, "Date") // net/http writes it
	if x.route.Deprecated {
		setDefault("Deprecation", "@0") // RFC 9745; the date is not declared
	}
	delete(h, "X-Request-Id")
	x.commonHeader(h)
}

// hopByHop reports whether a field concerns one connection only (RFC 9110, section 7.6.1).
func hopByHop(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}

func namedInConnection(resp *upstream.Response, name string) bool {
	for _, f := range resp.Header {
		if f.Name != "Connection" {
			continue
		}
		for token := range strings.SplitSeq(f.Value, ",") {
			if textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(token)) == name {
				return true
			}
		}
	}
	return false
}

// forbiddenTrailer names fields that may not come after the body (RFC 9110, section 6.5.1).
func forbiddenTrailer(name string) bool {
	switch name {
	case "Content-Length", "Content-Type", "Content-Encoding", "Content-Range", "Set-Cookie", "Host", "Cache-Control", "Authorization", "Location", "Strict-Transport-Security":
		return true
	}
	return false
}

// hardenCookie adds Secure, HttpOnly and SameSite=Lax where the service said nothing. Cookies that scripts
// must read, such as double-submit tokens, begin with XSRF- or csrf and stay readable.
func hardenCookie(v string) string {
	pair, attributes, _ := strings.Cut(v, ";")
	var secure, httpOnly, sameSite bool
	for attribute := range strings.SplitSeq(attributes, ";") {
		name, _, _ := strings.Cut(attribute, "=")
		switch strings.ToLower(strings.TrimSpace(name)) { // as browsers read it (RFC 6265, section 5.2)
		case "secure":
			secure = true
		case "httponly":
			httpOnly = true
		case "samesite":
			sameSite = true
		}
	}
	if !secure {
		v += "; Secure"
	}
	name := strings.ToLower(strings.TrimSpace(pair))
	readable := strings.HasPrefix(name, "xsrf-") || strings.HasPrefix(name, "csrf")
	if !readable && !httpOnly {
		v += "; HttpOnly"
	}
	if !sameSite {
		v += "; SameSite=Lax"
	}
	return v
}

// abort breaks the connection, so that a client never takes a cut answer for a whole one.
func (x *exchange) abort() {
	if x.ev.Aborted == "" {
		x.ev.Aborted = "upstream"
	}
	x.broken = true
}

// panicked records a defect of ours and breaks the connection.
func (x *exchange) panicked(p any) {
	slog.ErrorContext(x.ctx, "request handling failed", "request_id", x.req.ID, "panic", x.table.Redactor.Text(fmt.Sprint(p))) // it may quote the request
	x.ev.Aborted = "defect"
	x.broken = true
	if n := len(x.req.Trail); x.denial == nil && (n == 0 || x.req.Trail[n-1].Name != event.StageForward) {
		x.setDenial(&proxy.Denial{Kind: proxy.KindUndecided}) // nothing was allowed yet
	}
}
