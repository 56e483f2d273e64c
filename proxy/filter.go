package proxy

import (
	"context"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/proxy/field"
)

// Filter decides about a request. It returns nil to let it pass, a *Denial to refuse it; any other error
// means that it could not decide, and the engine refuses with 503. A filter never writes an answer. It is
// safe for concurrent use and is built once per snapshot.
type Filter interface {
	Filter(ctx context.Context, r *Request) error
}

// FilterFunc is a function that is a Filter.
type FilterFunc func(ctx context.Context, r *Request) error

// Filter calls f.
func (f FilterFunc) Filter(ctx context.Context, r *Request) error { return f(ctx, r) }

// Kind names a sort of refusal. Its Slug is the stable end of the problem document's type (RFC 9457).
type Kind struct {
	Status int
	Slug   string
	Title  string
}

// Denial is a refusal with its reasons.
type Denial struct {
	Kind    Kind
	Detail  string // one sentence that any client may read
	Reasons []event.Reason
	Header  field.List // Retry-After, WWW-Authenticate
}

// Error returns the title, never details that a log should not hold.
func (d *Denial) Error() string { return "refused: " + d.Kind.Title }

// The kinds of refusal that filters and the engine use.
var (
	KindMalformed        = Kind{400, "malformed-request", "The request is malformed or ambiguous"}
	KindUnauthenticated  = Kind{401, "unauthenticated", "Authentication is required"}
	KindInvalidToken     = Kind{401, "invalid-token", "The access token is not valid"}
	KindForbidden        = Kind{403, "forbidden", "No policy permits this request"}
	KindAttack           = Kind{403, "attack-detected", "The request looks like an attack"}
	KindNotFound         = Kind{404, "not-found", "No route matches this request"}
	KindUndeclared       = Kind{404, "undeclared-endpoint", "The API document does not declare this endpoint"}
	KindMethod           = Kind{405, "method-not-allowed", "The route does not take this method"}
	KindTimeout          = Kind{408, "request-timeout", "The request took too long to arrive"}
	KindTooLarge         = Kind{413, "content-too-large", "The request body is too large"}
	KindTargetTooLong    = Kind{414, "target-too-long", "The request target is too long"}
	KindUnsupportedMedia = Kind{415, "unsupported-media-type", "The content type is not declared for this endpoint"}
	KindMisdirected      = Kind{421, "misdirected-request", "This host is not served on this connection"}
	KindInvalid          = Kind{422, "schema-violation", "The request does not match the API document"}
	KindLimited          = Kind{429, "rate-limited", "Too many requests"}
	KindHeaderTooLarge   = Kind{431, "header-too-large", "The request header is too large"}
	KindUndecided        = Kind{503, "cannot-decide", "A check could not decide"}
	KindOverloaded       = Kind{503, "overloaded", "The gateway is shedding load"}
	KindUnrecorded       = Kind{503, "cannot-record", "The decision cannot be recorded"}
	KindUpstream         = Kind{502, "upstream-failed", "The service did not answer properly"}
	KindWithheld         = Kind{502, "answer-withheld", "The answer was withheld"}
	KindUpstreamTimeout  = Kind{504, "upstream-timeout", "The service did not answer in time"}
)
