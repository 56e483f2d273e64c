// Package waf inspects requests with the OWASP Core Rule Set: it refuses what looks like an attack and notes
// what it found. Use it after authorisation and before the body is forwarded. It is not a validator: a request
// that breaks the service's API document without looking hostile passes here.
package waf

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy"
)

// maxReasons bounds what one request may add to its record.
const maxReasons = 128

// Engine is what inspects. Coraza is the first. An Engine is safe for concurrent use, looks at nothing but r
// and body, changes neither, and keeps no reference to them. Body is whole; nil means that there is none.
// An error means that it could not decide.
type Engine interface {
	Inspect(ctx context.Context, r *proxy.Request, body []byte) (Verdict, error)
}

// Verdict is what an Engine found. It holds no value of the request.
type Verdict struct {
	Matches []Match
	Score   int  // anomaly score at the blocking paranoia level, inbound or, of an answer, outbound
	Blocked bool // the score reached the threshold, or a rule refused outright
}

// Match is one rule that matched.
type Match struct {
	Rule     int
	Message  string   // the rule's own text, without anything of the request
	Severity string   // "critical", "error", "warning", "notice", or "" if the rule has none
	Target   string   // variable and key, e.g. "ARGS:comment"; never the value
	Tags     []string // the rule's; not to be changed
}

// Filter inspects the requests of one route, and their answers if the route asks for it.
type Filter struct {
	engine  Engine
	detect  bool
	answers bool // the engine is Coraza's
	body    int64
	stream  bool // bodies have no end
	grpc    bool // bodies of gRPC have no end
}

// Filter implements proxy.Filter. It buffers the body, since what is inspected must be what is forwarded.
// What exceeds the bound is refused with 413 also in detect mode: the bytes read would be lost, and a part
// is never inspected for the whole. A body without end is not read at all, which the trail says.
func (f *Filter) Filter(ctx context.Context, r *proxy.Request) error {
	body, err := f.read(r)
	if err != nil {
		return err
	}
	v, err := f.inspect(ctx, r, body)
	if err != nil {
		return fmt.Errorf("inspecting the request: %w", err)
	}
	return f.judge(r, &v, proxy.Denial{Kind: proxy.KindAttack, Detail: "The request was refused by the web application firewall."})
}

// judge refuses with d what is to be blocked, and notes what else was found.
func (f *Filter) judge(r *proxy.Request, v *Verdict, d proxy.Denial) error {
	reasons := v.reasons()
	if v.Blocked && !f.detect {
		d.Reasons = reasons
		return &d
	}
	for _, reason := range reasons {
		r.Note(reason)
	}
	return nil
}

// read returns the body to inspect, nil if there is none to be inspected.
func (f *Filter) read(r *proxy.Request) ([]byte, error) {
	if f.endless(r) {
		if r.Body.Declared() != 0 {
			r.Note(event.Reason{Code: "body-not-inspected", Text: "The body is a stream without end; only the head was inspected."})
		}
		return nil, nil
	}
	body, err := r.Body.Buffer(f.body)
	if errors.Is(err, proxy.ErrBodyTooLarge) {
		return nil, f.tooLarge()
	}
	if err != nil {
		return nil, fmt.Errorf("reading the body to inspect: %w", err)
	}
	return body, nil
}

// endless reports whether there may be no end of the request's body, or of its answer's, to wait for.
func (f *Filter) endless(r *proxy.Request) bool {
	return f.stream || f.grpc && isGRPC(r.Header.Get("Content-Type"))
}

// isGRPC reports whether a body holds gRPC messages, binary frames in which text rules see attacks where none are
// (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md, Content-Type; also gRPC-Web).
func isGRPC(contentType string) bool {
	rest, ok := strings.CutPrefix(lower(contentType), "application/grpc")
	return ok && (rest == "" || strings.IndexByte("+;- ", rest[0]) >= 0)
}

// inspect keeps the inspection open for the answer if the route wants that. The answer to what would be blocked
// is not looked at: there is none, or it says nothing new.
func (f *Filter) inspect(ctx context.Context, r *proxy.Request, body []byte) (Verdict, error) {
	if !f.answers {
		return f.engine.Inspect(ctx, r, body)
	}
	x, v, err := f.Open(ctx, r, body)
	if err != nil {
		return v, err
	}
	if v.Blocked {
		return v, x.Close()
	}
	r.OnAnswer(&answerFilter{of: f, x: x})
	r.OnEnd(func() { _ = x.Close() }) // what it held is of no use to anyone any more
	return v, nil
}

func (f *Filter) tooLarge() error {
	return &proxy.Denial{
		Kind:   proxy.KindTooLarge,
		Detail: "The request body is larger than this route inspects.",
		Reasons: []event.Reason{{
			Code: "waf-body-too-large",
			Text: "The body exceeds what the WAF inspects; raise waf.body or send less.",
			Data: map[string]string{"limit": sizeText(model.Size(f.body))},
		}},
	}
}

// reasons returns one reason per match, at most maxReasons, and one that counts the rest.
func (v *Verdict) reasons() []event.Reason {
	if len(v.Matches) == 0 {
		return nil
	}
	shown := v.Matches[:min(len(v.Matches), maxReasons)]
	out := make([]event.Reason, 0, len(shown)+1)
	score := strconv.Itoa(v.Score)
	for i := range shown {
		out = append(out, shown[i].reason(score))
	}
	if rest := len(v.Matches) - len(shown); rest > 0 {
		out = append(out, event.Reason{
			Code: "waf-more",
			Text: "More rules matched than are recorded.",
			Data: map[string]string{"count": strconv.Itoa(rest)},
		})
	}
	return out
}

func (m *Match) reason(score string) event.Reason {
	data := map[string]string{"score": score}
	if m.Target != "" {
		data["target"] = m.Target
	}
	if m.Severity != "" {
		data["severity"] = m.Severity
	}
	return event.Reason{Code: "waf-rule", Policy: strconv.Itoa(m.Rule), Text: m.Message, Data: data}
}
