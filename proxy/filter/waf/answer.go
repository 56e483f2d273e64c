package waf

import (
	"context"
	"fmt"
	"strings"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy"
)

// answerFilter inspects the answer of one exchange.
type answerFilter struct {
	of *Filter
	x  *Exchange
}

// Answer implements proxy.AnswerFilter. A body is inspected as far as the bound reaches; the rest passes. An
// answer may be a download of any size, and its sender is one's own service, so that unlike with a request a
// part is worth more than a refusal.
func (f *answerFilter) Answer(_ context.Context, r *proxy.Request, a *proxy.Answer) error {
	v, err := f.x.Answer(a.Status, a.Proto, a.Header, func() ([]byte, error) { return f.body(r, a) })
	if err != nil {
		return fmt.Errorf("inspecting the answer: %w", err)
	}
	return f.of.judge(r, &v, proxy.Denial{Kind: proxy.KindWithheld, Detail: "The answer was withheld by the web application firewall."})
}

// body returns what of the answer's body is inspected, and notes what is not.
func (f *answerFilter) body(r *proxy.Request, a *proxy.Answer) ([]byte, error) {
	if f.of.endless(r) {
		r.Note(event.Reason{Code: "answer-body-not-inspected", Text: "The answer's body is a stream without end; only its head was inspected."})
		return nil, nil
	}
	if c := a.Header.Get("Content-Encoding"); c != "" && !strings.EqualFold(c, "identity") {
		r.Note(event.Reason{Code: "answer-body-not-inspected", Text: "The service compressed the answer although it was asked not to; only its head was inspected."})
		return nil, nil
	}
	begin, whole, err := a.Peek(int(f.of.body))
	if err != nil {
		return nil, err
	}
	if !whole {
		r.Note(event.Reason{
			Code: "answer-partly-inspected", Text: "Only the beginning of the answer was inspected; raise waf.body to see more.",
			Data: map[string]string{"limit": sizeText(model.Size(f.of.body))},
		})
	}
	return begin, nil
}
