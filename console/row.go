package console

import (
	"strings"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/store/query"
)

// row is an event in one line. Its texts are what attackers may have chosen; templates write them as words.
type row struct {
	Time    time.Time
	ID      string
	Key     string
	Kind    string
	Side    string
	Outcome string
	Reason  string
	What    string
	Service string
	Who     string
	Status  int
	Took    time.Duration
	Proxy   string // that wrote it down
}

func rowOf(e *event.Event) row {
	r := row{
		Time: e.Time, ID: e.ID, Key: query.Key(e), Kind: query.KindOf(e), Side: query.TextOf(e, query.Side), Outcome: query.OutcomeOf(e),
		Reason: query.ReasonOf(e), Service: query.TextOf(e, query.Service), Status: e.Status, Took: e.Took, Proxy: seenBy(e),
	}
	switch {
	case e.Act != nil:
		r.What = strings.TrimSpace(e.Act.Object + " " + e.Act.Text)
	case e.Log != nil:
		r.What = e.Log.Text
	case e.Connection != nil:
		r.What = e.Connection.Protocol + " to " + e.Host
	default:
		r.What = e.Method + " " + pathOf(e)
	}
	r.Who = whoOf(e)
	return r
}

func rowsOf(events []*event.Event) []row {
	out := make([]row, len(events))
	for i, e := range events {
		out[i] = rowOf(e)
	}
	return out
}

func pathOf(e *event.Event) string {
	if e.Query == "" {
		return e.Path
	}
	return e.Path + "?" + e.Query
}

// whoOf names the user, else the service that asked, else the address.
func whoOf(e *event.Event) string {
	for _, f := range []query.Field{query.User, query.Caller, query.Address} {
		if s := query.TextOf(e, f); s != "" {
			if f == query.Caller {
				return s[strings.LastIndexByte(s, '/')+1:]
			}
			return s
		}
	}
	return ""
}
