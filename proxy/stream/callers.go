package stream

import (
	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/proxy"
)

// callers are the declared callers of a service, by SPIFFE ID.
type callers struct {
	declared map[string][]event.Reason
	unknown  []event.Reason
}

// Callers lets the services with these SPIFFE IDs connect, and nobody else. Position is where the model says so.
func Callers(position string, ids ...string) Decider {
	c := &callers{declared: make(map[string][]event.Reason, len(ids)), unknown: []event.Reason{undeclared(position)}}
	for _, id := range ids {
		c.declared[id] = []event.Reason{{Code: "declared-caller", Text: "the model declares this call", Position: position}}
	}
	return c
}

func undeclared(position string) event.Reason {
	return event.Reason{Code: "call-not-declared", Text: "the model declares no such call", Position: position}
}

// Decide allows who is declared.
func (c *callers) Decide(w *proxy.Workload) (bool, []event.Reason) {
	if w != nil {
		if why, ok := c.declared[w.SPIFFEID]; ok {
			return true, why
		}
	}
	return false, c.unknown
}
