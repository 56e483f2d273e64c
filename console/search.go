package console

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/palisade-security/palisade/store/query"
)

const (
	pageRows  = 100
	facetTop  = 12
	longQuery = 4 << 10
)

type search struct {
	Query   string
	Spans   []choice
	Span    span
	By      []choice
	Field   string
	Mistake *mistake
	Chart   *chart
	Counts  *query.Counts
	Many    string // why nothing is counted by the field
	Rows    []row
	Older   string // address of the next page; empty: there is none
	Begun   bool   // this is not the first page
	From    time.Time
	To      time.Time
}

// search finds events by what somebody wrote.
func (c *Console) search(w http.ResponseWriter, r *http.Request, s *session) error {
	v := r.URL.Query()
	o := search{Query: v.Get("q"), Span: spanOf(r), To: time.Now()}
	if until, err := time.Parse(time.RFC3339Nano, v.Get("until")); err == nil { // of an older page: what came since moves nothing
		o.To = until
	}
	o.From = o.To.Add(-o.Span.Length)
	o.Spans = choicesOf(o.Span)
	field := query.FieldNamed(v.Get("by"))
	if !field.Countable() {
		field = query.Outcome
	}
	o.Field = field.String()
	for _, f := range query.Fields() {
		if f.Countable() && f != query.ID && f != query.Trace {
			o.By = append(o.By, choice{f.String(), f.String(), f == field})
		}
	}
	where, wrong := understand(o.Query)
	if wrong != nil {
		o.Mistake = wrong
		c.show(w, r, s, http.StatusBadRequest, "search", "Events", &o)
		return nil
	}
	if err := c.find(r, &o, query.Query{From: o.From, To: o.To, Where: where}, field); err != nil {
		return err
	}
	c.show(w, r, s, http.StatusOK, "search", "Events", &o)
	return nil
}

// find asks the store.
func (c *Console) find(r *http.Request, o *search, q query.Query, by query.Field) error {
	ctx, v := r.Context(), r.URL.Query()
	if err := q.Validate(); err != nil {
		o.Mistake = &mistake{Text: err.Error()}
		return nil //nolint:nilerr // the page shows it
	}
	var from query.Cursor
	if at, err := strconv.ParseInt(v.Get("at"), 10, 64); err == nil && len(v.Get("key")) < 256 {
		from, o.Begun = query.Cursor{Time: at, Key: v.Get("key")}, true
	}
	page, err := c.o.Events.Last(ctx, q, pageRows, from)
	if err != nil {
		return err
	}
	o.Rows = rowsOf(page.Events)
	if !page.Next.IsZero() {
		o.Older = "/events?" + url.Values{
			"q": {o.Query}, "span": {o.Span.Name}, "by": {o.Field}, "until": {o.To.Format(time.RFC3339Nano)},
			"at": {strconv.FormatInt(page.Next.Time, 10)}, "key": {page.Next.Key},
		}.Encode()
	}
	series, err := c.o.Events.Histogram(ctx, q, o.Span.Step, query.Outcome, 8)
	if err != nil {
		return err
	}
	o.Chart = chartOf(series)
	o.Counts, err = c.o.Events.Count(ctx, q, by, facetTop)
	if errors.Is(err, query.ErrTooMany) {
		o.Many, err = err.Error(), nil
	}
	return err
}
