package proxy

import (
	"context"
	"errors"
	"io"
	"slices"

	"github.com/palisade-security/palisade/proxy/field"
)

// AnswerFilter decides about a service's answer before any of it is sent. It returns nil to let it pass, a
// *Denial to withhold it; any other error means that it could not decide, and the answer is withheld too. It
// belongs to one request.
type AnswerFilter interface {
	Answer(ctx context.Context, r *Request, a *Answer) error
}

// Later is what filters asked for after the decision. The engine sees to it; filters use OnAnswer and OnEnd.
type Later struct {
	Answers []AnswerStep
	Ends    []func()
}

// AnswerStep is an AnswerFilter that inherits the dry run of the filter that asked for it.
type AnswerStep struct {
	Filter AnswerFilter
	DryRun bool
}

// OnAnswer lets f decide about the answer to this request. The service is asked to send it without a content
// coding, so that f can read it. An answer that switches protocols is not shown to f.
func (r *Request) OnAnswer(f AnswerFilter) {
	r.Later.Answers = append(r.Later.Answers, AnswerStep{Filter: f})
}

// OnEnd calls f exactly once, when no filter will look at the exchange any more: after the answer was decided
// about, or when there will be none to decide about, whatever the cause.
func (r *Request) OnEnd(f func()) { r.Later.Ends = append(r.Later.Ends, f) }

// Answer is what a service answered. Filters must not change it.
type Answer struct {
	Status int
	Proto  string     // the client's protocol version
	Header field.List // as the service sent it

	src   io.Reader
	begin []byte // what was peeked at
	given int    // bytes of begin that Read has given out
	err   error  // what ended src
}

// NewAnswer returns an answer whose body is src.
func NewAnswer(status int, proto string, header field.List, src io.Reader) *Answer {
	return &Answer{Status: status, Proto: proto, Header: header, src: src}
}

// Peek waits for the first limit bytes of the body, or all of it if it is shorter, and returns them without
// taking them away from the client; the result must not be changed. Whole tells that there is no more. An error
// is the service's and ends the exchange. Peek before the first Read.
func (a *Answer) Peek(limit int) (begin []byte, whole bool, err error) {
	for len(a.begin) <= limit && a.err == nil {
		if len(a.begin) == cap(a.begin) {
			a.begin = slices.Grow(a.begin, min(max(minPeek, len(a.begin)), limit+1-len(a.begin)))
		}
		n, err := a.src.Read(a.begin[len(a.begin):min(cap(a.begin), limit+1)])
		a.begin, a.err = a.begin[:len(a.begin)+n], err
	}
	if len(a.begin) > limit {
		return a.begin[:limit], false, nil
	}
	return a.begin, true, a.Err()
}

// minPeek is how much Peek reads at once at first; most answers end within it.
const minPeek = 4 << 10

// Err returns what stopped the body short, nil at its proper end.
func (a *Answer) Err() error {
	if errors.Is(a.err, io.EOF) {
		return nil
	}
	return a.err
}

// Read streams the body on, first what was peeked at.
func (a *Answer) Read(p []byte) (int, error) {
	if a.given < len(a.begin) {
		n := copy(p, a.begin[a.given:])
		a.given += n
		return n, nil
	}
	if a.err != nil {
		return 0, a.err
	}
	a.begin, a.given = nil, 0
	return a.src.Read(p)
}
