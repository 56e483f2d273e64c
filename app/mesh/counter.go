package mesh

import (
	"net/http"
	"sync/atomic"

	"github.com/palisade-security/palisade/control/wire"
	"github.com/palisade-security/palisade/event"
)

// Counter counts what a recorder gets to see, for the reports to control.
type Counter struct {
	Recorder
	requests, errors, refused atomic.Uint64
}

// Observe implements engine.Recorder.
func (c *Counter) Observe(e *event.Event) {
	if e.Act == nil {
		c.requests.Add(1)
		switch {
		case e.Problem != "" && !e.Allowed || !e.Allowed && e.Connection != nil:
			c.refused.Add(1)
		case e.Status >= http.StatusInternalServerError || e.Aborted == "upstream" || e.Aborted == "timeout":
			c.errors.Add(1)
		}
	}
	c.Recorder.Observe(e)
}

// Traffic returns what was counted.
func (c *Counter) Traffic() wire.Traffic {
	return wire.Traffic{Requests: c.requests.Load(), Errors: c.errors.Load(), Refused: c.refused.Load()}
}
