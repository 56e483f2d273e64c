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
	"github.com/palisade-security/palisade/proxy/field"
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
		x.broken = true // there is nobody to answer
		return
	}
	if x.table.Strict && !x.ev.Open {
		if err := x.recordOpen(); err != nil {
			d = denialFor(err, &x.req)
			x.setDenial(d)
		}
	}
	x.commonHeader()
	x.head = append(x.head, d.Header...)
	x.head.Set("Cache-Control", "no-store")
	if d.Kind.Status == http.StatusServiceUnavailable && !x.head.Has("Retry-After") {
		x.head.Add("Retry-After", "1")
	}
	if x.isGRPC() {
		x.refuseGRPC(d)
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
	body = append(body, '\n')
	if x.malformed() {
		x.head.Add("Connection", "close") // what follows on this connection cannot be trusted
	}
	x.head.Add("Content-Type", "application/problem+json")
	x.head.Add("Content-Length", strconv.Itoa(len(body)))
	x.head.Set("X-Content-Type-Options", "nosniff")
	x.begin(d.Kind.Status, int64(len(body)))
	if x.call.Method != http.MethodHead {
		n, _ := x.call.Answer.Write(body) // a client that is gone cannot be told
		x.ev.BytesOut += int64(n)
	}
}

// begin sends the head of the answer.
func (x *exchange) begin(status int, length int64) {
	x.call.Line.WriteWithin(x.table.Write)
	x.answered = true
	x.ev.Status = status
	x.call.Answer.Begin(status, x.head, length)
}

// malformed reports whether the request was refused before it was understood, or its body before its end.
func (x *exchange) malformed() bool {
	return x.call.Proto != "HTTP/2.0" && (!x.understood || x.req.Body.Err() != nil)
}

// isGRPC reports whether the client reads gRPC's own status. HTTP/1.x has no gRPC: there a refusal must not look
// like a success to whoever reads the status line.
func (x *exchange) isGRPC() bool {
	if x.call.Proto != "HTTP/2.0" || x.call.Method != http.MethodPost {
		return false
	}
	kind, _, _ := strings.Cut(x.call.Header.Get("Content-Type"), ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	return kind == "application/grpc" || strings.HasPrefix(kind, "application/grpc+")
}

// refuseGRPC answers with trailers only, as gRPC clients expect
// (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md).
func (x *exchange) refuseGRPC(d *proxy.Denial) {
	x.head.Add("Content-Type", "application/grpc")
	x.head.Add("Grpc-Status", strconv.Itoa(grpcCode(d.Kind.Status)))
	x.head.Add("Grpc-Message", d.Kind.Title+" ("+x.req.ID+")")
	x.begin(http.StatusOK, 0)
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

// commonHeader begins the head of every answer, the gateway's own and the services'.
func (x *exchange) commonHeader() {
	x.head = append(x.head[:0], field.Field{Name: "X-Request-Id", Value: x.req.ID})
	if v := x.hsts(); v != "" {
		x.head.Add("Strict-Transport-Security", v)
	}
	x.head = append(x.head, x.req.Answer...)
	x.allowOrigin()
}

// hsts is the value of Strict-Transport-Security that the listener declares, "" if it declares none.
func (x *exchange) hsts() string {
	if !x.call.Conn.Secure() {
		return ""
	}
	return x.table.HSTS[x.call.Conn.Listener]
}

// answerHeader makes the head of what a service answered: its own fields behind the gateway's. What goes to browsers is
// hardened, which between services nobody reads: the edge does it at the end.
func (x *exchange) answerHeader(resp *upstream.Response) {
	x.commonHeader()
	harden := x.table.Side == Edge
	hsts := x.hsts() != ""
	nominates := resp.Header.Has("Connection")
	var noSniff, referrer, frames, deprecated bool
	for _, f := range resp.Header {
		switch f.Name {
		case "Date", "Server", "X-Powered-By", "X-Request-Id", "Access-Control-Allow-Origin", "Access-Control-Allow-Credentials":
			continue // the front's to write, nobody's business, or the gateway's to say
		case "Strict-Transport-Security":
			if hsts {
				continue
			}
		case "Set-Cookie":
			if harden {
				f.Value = hardenCookie(f.Value)
			}
		case "X-Content-Type-Options":
			noSniff = true
		case "Referrer-Policy":
			referrer = true
		case "Content-Security-Policy", "X-Frame-Options":
			frames = true
		case "Deprecation":
			deprecated = true
		}
		if hopByHop(f.Name) || nominates && namedInConnection(resp, f.Name) {
			continue
		}
		x.head = append(x.head, f)
	}
	if x.route.Deprecated && !deprecated {
		x.head.Add("Deprecation", "@0") // RFC 9745; the date is not declared
	}
	if !harden {
		return
	}
	if !noSniff {
		x.head.Add("X-Content-Type-Options", "nosniff")
	}
	if !referrer {
		x.head.Add("Referrer-Policy", "strict-origin-when-cross-origin")
	}
	if !frames {
		x.head.Add("X-Frame-Options", "DENY")
	}
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
