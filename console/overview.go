package console

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/store/query"
)

// sample is how many of the newest requests the latency is taken from.
const sample = 1000

type overview struct {
	Spans   []choice
	Span    span
	Now     time.Time
	Chart   *chart
	Total   int64
	Denied  int64
	Failed  int64 // answered with 5xx, or not decided
	P50     time.Duration
	P95     time.Duration
	Sampled int
	Reasons []query.Count
	Others  unlisted // that stand behind Reasons
	Busiest []query.Count
	Refused []row
	State   State
	Behind  int // proxies that do not have what they should
}

func (c *Console) overview(w http.ResponseWriter, r *http.Request, s *session) error {
	now := time.Now()
	o := overview{Span: spanOf(r), Now: now, State: c.o.Fleet.State(r.Context())}
	o.Spans = choicesOf(o.Span)
	if err := c.traffic(r.Context(), &o); err != nil {
		return err
	}
	slices.SortFunc(o.State.Certificates, func(a, b Certificate) int { return a.Expires.Compare(b.Expires) })
	for _, p := range o.State.Proxies {
		if !p.Current || p.Problem != "" {
			o.Behind++
		}
	}
	c.show(w, r, s, http.StatusOK, "overview", "Overview", &o)
	return nil
}

// unlisted are values that are not listed.
type unlisted struct {
	Values int   // how many
	Count  int64 // of how many events
}

// unlistedOf is what of counts the list of the most frequent lacks.
func unlistedOf(n *query.Counts) unlisted {
	out := unlisted{Values: n.Values - len(n.Top), Count: n.Total}
	for _, c := range n.Top {
		out.Count -= c.Count
	}
	return out
}

// traffic asks the store.
func (c *Console) traffic(ctx context.Context, o *overview) error {
	q := query.Query{From: o.Now.Add(-o.Span.Length), To: o.Now, Where: requests()}
	series, err := c.o.Events.Histogram(ctx, q, o.Span.Step, query.Outcome, 8)
	if err != nil {
		return err
	}
	o.Chart = chartOf(series)
	o.Total = o.Chart.Total
	for _, p := range o.Chart.Legend {
		switch p.Words {
		case query.Denied:
			o.Denied = p.Total
		case query.Error:
			o.Failed += p.Total
		}
	}
	failed := q
	failed.Where = both(requests(), query.Is{Field: query.Outcome, Value: query.Allowed}, query.Number{Field: query.Status, Op: query.AtLeast, Value: 500})
	for _, one := range []struct {
		where query.Expr
		by    query.Field
		take  func(*query.Counts)
	}{
		{failed.Where, query.Service, func(n *query.Counts) { o.Failed += n.Total }},
		{both(requests(), refusals()), query.Reason, func(n *query.Counts) { o.Reasons, o.Others = n.Top, unlistedOf(n) }},
		{both(requests(), query.Prefix{Field: query.Service}), query.Service, func(n *query.Counts) { o.Busiest = n.Top }},
	} {
		asked := q
		asked.Where = one.where
		n, err := c.o.Events.Count(ctx, asked, one.by, 8)
		if err != nil {
			return err
		}
		one.take(n)
	}
	refused := q
	refused.Where = refusals()
	page, err := c.o.Events.Last(ctx, refused, 10, query.Cursor{})
	if err != nil {
		return err
	}
	o.Refused = rowsOf(page.Events)
	q.Where = both(requests(), query.Is{Field: query.Outcome, Value: query.Allowed})
	if page, err = c.o.Events.Last(ctx, q, sample, query.Cursor{}); err != nil {
		return err
	}
	o.Sampled = len(page.Events)
	o.P50, o.P95 = quantile(page.Events, 0.5), quantile(page.Events, 0.95)
	return nil
}

// quantile is the time below which that part of the events took.
func quantile(events []*event.Event, part float64) time.Duration {
	if len(events) == 0 {
		return 0
	}
	took := make([]time.Duration, len(events))
	for i, e := range events {
		took[i] = e.Took
	}
	slices.Sort(took)
	return took[min(len(took)-1, int(part*float64(len(took))))]
}
