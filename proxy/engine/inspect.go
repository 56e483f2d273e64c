package engine

import (
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/upstream"
)

// inspect lets the filters that asked for it decide about an answer of which nothing has been sent. It returns
// the denial that withholds the answer, or nil. What the filters read of the body, resp.Body gives out again.
func (x *exchange) inspect(resp *upstream.Response) *proxy.Denial {
	defer x.ended()
	steps := x.req.Later.Answers
	if len(steps) == 0 {
		return nil
	}
	a := proxy.NewAnswer(resp.Status, x.req.Proto, resp.Header, resp.Body)
	resp.Body = answerBody{a, resp.Body}
	for i := range steps {
		s := &steps[i]
		x.req.Trail = append(x.req.Trail, event.Stage{Name: event.StageInspectAnswer, DryRun: s.DryRun})
		began := time.Now()
		err := s.Filter.Answer(x.ctx, &x.req, a)
		if cause := a.Err(); err != nil && cause != nil {
			err = x.upstreamDenial(cause) // what the service did not send, nobody can judge
			x.enforced()
		}
		x.settle(err, began)
		switch {
		case err == nil:
		case s.DryRun && a.Err() == nil:
			x.ev.DryRun = true
		default:
			return denialFor(err, &x.req)
		}
	}
	return nil
}

// enforced takes back that the running stage only pretends.
func (x *exchange) enforced() { x.req.Trail[len(x.req.Trail)-1].DryRun = false }

// ended calls what filters want called when nobody looks at the exchange any more.
func (x *exchange) ended() {
	ends := x.req.Later.Ends
	x.req.Later.Ends = nil
	for _, f := range ends {
		f()
	}
}

// answerBody reads through the filters' view of a body and closes the body itself.
type answerBody struct {
	*proxy.Answer
	body interface{ Close() error }
}

// Close closes the service's side.
func (b answerBody) Close() error { return b.body.Close() }
