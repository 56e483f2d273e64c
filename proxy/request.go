// Package proxy is the data path: its own request type, the pipeline of filters that decide about a request,
// and the front that accepts, forwards, answers and records. Filters live below it and see only what stands
// in this file; they never meet net/http.
package proxy

import (
	"net/netip"
	"slices"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/proxy/field"
)

// Request is a request after canonicalisation. What stands here is authorised, inspected and forwarded; no
// stage looks at anything else. It belongs to one goroutine at a time.
type Request struct {
	ID       string    // UUIDv7, made by the edge
	TraceID  string    // 32 hex digits (W3C Trace Context)
	Received time.Time // when the head was complete
	Began    time.Time // when the running stage began

	Method   string
	Scheme   string   // "https" as the client used it
	Host     string   // canonical: lower case, A-labels, without port
	Path     string   // canonical and as forwarded; begins with "/"
	Segments []string // decoded path segments, as routed
	RawQuery string   // as forwarded, without "?"
	Query    []Param
	Proto    string     // "HTTP/1.1" or "HTTP/2.0"
	Header   field.List // hop-by-hop and identity-bearing fields already removed
	Hop      field.List // the Connection fields as the client sent them: to be inspected, never forwarded
	Body     *Body      // never nil

	Client netip.Addr // the client's address, behind trusted proxies
	Peer   netip.Addr // the address that connected
	TLS    TLS

	Route    *Route    // nil until routed
	Params   []Param   // values of the route's path template, decoded
	User     *User     // nil: nobody signed in
	Workload *Workload // nil: no service identity

	Trail  []event.Stage
	Answer field.List // fields that filters add to whatever answer is sent
	Later  Later      // what filters asked for after the decision
}

// Param is one decoded name and value of the query or of the path.
type Param struct{ Name, Value string }

// TLS is what the handshake settled.
type TLS struct {
	Version string // "1.3"
	Cipher  string // IANA name
	Group   string // key exchange, e.g. "X25519MLKEM768"
	Server  string // SNI
}

// User is the end user that a verified token names.
type User struct {
	Provider string
	Issuer   string
	Subject  string
	Roles    []string // declared roles, with all that they include, sorted
	Scopes   []string
	Claims   map[string]any // only claims the provider declares: string, int64, bool or []string
	TokenID  string         // "jti"
	ClientID string
	ACR      string    // authentication context class
	AMR      []string  // authentication methods
	AuthTime time.Time // zero: not told
	Expires  time.Time
}

// Workload is the service that a verified SVID names.
type Workload struct{ SPIFFEID string }

// Route is where a request goes, as filters see it. It is immutable.
type Route struct {
	ID       string
	Service  string
	Host     string
	Template string // /orders/{id}
}

// Now is the time for a filter that decides at once: one reading of the clock serves a whole stage.
func (r *Request) Now() time.Time {
	if r.Began.IsZero() {
		return time.Now()
	}
	return r.Began
}

// Note adds a reason to the stage that is running.
func (r *Request) Note(reason event.Reason) {
	if n := len(r.Trail); n > 0 {
		r.Trail[n-1].Reasons = append(r.Trail[n-1].Reasons, reason)
	}
}

// NoteShared adds reasons that nobody will ever change to the stage that is running. The first of a stage are
// taken over as they are, which spares the usual stage a copy.
func (r *Request) NoteShared(reasons []event.Reason) {
	n := len(r.Trail)
	if n == 0 {
		return
	}
	if st := &r.Trail[n-1]; len(st.Reasons) == 0 {
		st.Reasons = slices.Clip(reasons) // what is noted next copies them
	} else {
		st.Reasons = append(st.Reasons, reasons...)
	}
}
