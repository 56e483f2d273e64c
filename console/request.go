package console

import (
	"bytes"
	"encoding/json"
	"net/http"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/store/query"
)

const maxID = 256

type explained struct {
	*event.Event
	Row     row
	Reasons Reasons
	Hops    []*hop
	Record  string // the event as it is kept
}

// request explains one event.
func (c *Console) request(w http.ResponseWriter, r *http.Request, s *session) error {
	id := r.PathValue("id")
	missing := &pageError{http.StatusNotFound, "There is no event with that id. It may not have been kept, or is not there yet: try again in a few seconds."}
	q := query.Query{Where: query.Is{Field: query.ID, Value: id}}
	if len(id) > maxID || q.Validate() != nil {
		return missing
	}
	page, err := c.o.Events.Last(r.Context(), q, 10, query.Cursor{})
	if err != nil {
		return err
	}
	var e *event.Event
	for _, one := range page.Events {
		if e == nil || e.Open { // that of the whole exchange says more
			e = one
		}
	}
	if e == nil {
		return missing
	}
	o := explained{Event: e, Row: rowOf(e)}
	var indented bytes.Buffer
	if json.Indent(&indented, event.AppendJSON(nil, e), "", "  ") == nil {
		o.Record = indented.String()
	}
	whole := []*event.Event{e}
	q.Where = query.Is{Field: query.Trace, Value: e.TraceID}
	if e.TraceID != "" && q.Validate() == nil {
		if page, err = c.o.Events.Last(r.Context(), q, mostHops, query.Cursor{}); err != nil {
			return err
		}
		whole = page.Events
	}
	o.Reasons = c.o.Fleet.Explain(e, whole)
	if o.Hops = drawHops(o.Reasons.Way, e.ID); len(o.Hops) == 1 && o.Hops[0].Next == nil {
		o.Hops = nil // the facts say all of that
	}
	c.show(w, r, s, http.StatusOK, "request", o.Row.What, &o)
	return nil
}
