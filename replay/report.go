package replay

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/palisade-security/palisade/event"
)

// Report is what a model would have decided otherwise.
type Report struct {
	Fleet       string    `json:"fleet"`
	Snapshot    string    `json:"snapshot"`               // that decided again
	First       time.Time `json:"first,omitzero"`         // of the records
	Last        time.Time `json:"last,omitzero"`          // of the records
	Records     int       `json:"records"`                // decisions that were read
	Same        int       `json:"same"`                   // decided again, with the same outcome
	Denied      int       `json:"newly_denied"`           //
	Allowed     int       `json:"newly_allowed"`          //
	Changes     []Change  `json:"changes"`                // newly denied first, then the most frequent
	MoreChanges int       `json:"more_changes,omitempty"` // decisions that changed and found no room in Changes
	Kept        []Count   `json:"kept,omitempty"`         // not decided again: what was decided then holds
	Unknown     []Count   `json:"not_decided,omitempty"`  // something that is needed was not recorded
}

// Narrows reports whether anything that was let pass is refused.
func (r *Report) Narrows() bool { return r.Denied > 0 }

// NotDecided is how many records could not be decided again.
func (r *Report) NotDecided() int {
	n := 0
	for i := range r.Unknown {
		n += r.Unknown[i].Count
	}
	return n
}

// Change is decisions about the same thing for the same people that changed in the same way.
type Change struct {
	Newly   string    `json:"newly"` // denied or allowed
	Who     Who       `json:"who"`
	What    What      `json:"what"`
	Count   int       `json:"count"`
	First   time.Time `json:"first"`
	Last    time.Time `json:"last"`
	Samples []string  `json:"samples"` // ids, oldest first
	Was     Verdict   `json:"was"`
	Now     Verdict   `json:"now"`
}

// The values of Change.Newly.
const (
	NewlyDenied  = "denied"
	NewlyAllowed = "allowed"
)

// Who asked: a service, for a user or for itself, or a user alone.
type Who struct {
	Caller   string   `json:"caller,omitempty"`   // service; a SPIFFE ID where it is none
	Provider string   `json:"provider,omitempty"` // of the user; empty: nobody signed in
	Roles    []string `json:"roles,omitempty"`
	Claims   []string `json:"claims,omitempty"` // name=value, of those that policies read
}

// What was asked for.
type What struct {
	Side     string `json:"side"` // edge, inbound, outbound, egress
	Service  string `json:"service,omitempty"`
	Method   string `json:"method,omitempty"` // empty: a connection
	Route    string `json:"route,omitempty"`
	Template string `json:"path,omitempty"`
	Host     string `json:"host,omitempty"`
}

// Count is how many records there are of a kind.
type Count struct {
	Why     string   `json:"why"`
	Count   int      `json:"count"`
	Samples []string `json:"samples"` // ids, oldest first
}

// The bounds of a report.
const (
	maxChanges = 1000
	maxWhys    = 100
	maxSamples = 3
)

func whoOf(e *event.Event) Who {
	w := Who{Caller: serviceOf(e.Workload)}
	if w.Caller == "" {
		w.Caller = e.Workload
	}
	if e.User == nil {
		return w
	}
	w.Provider, w.Roles = e.User.Provider, e.User.Roles
	if a := e.User.Attributes; a != nil {
		for _, c := range a.Claims {
			if c.Value != nil {
				b, _ := json.Marshal(c.Value) // texts, numbers and truths only
				w.Claims = append(w.Claims, c.Name+"="+strings.Trim(string(b), `"`))
			}
		}
	}
	return w
}

func whatOf(e *event.Event, o *Outcome) What {
	w := What{Side: "edge", Service: o.Service, Method: e.Method, Route: o.Route, Template: o.Template}
	if side := e.SeenAt(); side != event.SideUnknown {
		w.Side = side.String()
	}
	if o.Route == "" {
		w.Host = e.Host
	}
	return w
}

func compareChanges(a, b Change) int {
	return cmp.Or(-strings.Compare(a.Newly, b.Newly), cmp.Compare(b.Count, a.Count), strings.Compare(a.What.Service, b.What.Service),
		strings.Compare(a.What.Route, b.What.Route), strings.Compare(a.What.Method, b.What.Method), strings.Compare(first(a.Samples), first(b.Samples)))
}

func compareCounts(a, b Count) int {
	return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Why, b.Why))
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

// sample adds an id to the oldest ones. Ids begin with their time.
func sample(samples []string, ids ...string) []string {
	for _, id := range ids {
		at, found := slices.BinarySearch(samples, id)
		if !found && at < maxSamples {
			samples = slices.Insert(samples, at, id)
		}
	}
	return samples[:min(len(samples), maxSamples)]
}
