package query

import (
	"strconv"
	"strings"

	"github.com/palisade-security/palisade/event"
)

// NumberOf is a field that is a number.
func NumberOf(e *event.Event, f Field) int64 {
	switch f {
	case Time:
		return nanos(e.Time)
	case Duration:
		return int64(e.Took)
	case Status:
		return int64(e.Status)
	default:
		return 0
	}
}

// TextOf is a field that is text, and Status in digits, as it is counted by.
func TextOf(e *event.Event, f Field) string {
	switch f {
	case ID:
		return e.ID
	case Trace:
		return e.TraceID
	case Kind:
		return KindOf(e)
	case Side:
		return sideOf(e)
	case Outcome:
		return OutcomeOf(e)
	case Reason:
		return ReasonOf(e)
	case Service:
		return serviceOf(e)
	case User:
		return userOf(e)
	case Caller:
		return callerOf(e)
	case Route:
		return e.Route
	case Method:
		return e.Method
	case Host:
		return e.Host
	case Path:
		return e.Path
	case Address:
		return e.Client
	case Level:
		return levelOf(e)
	case Status:
		return strconv.Itoa(e.Status)
	default:
		return ""
	}
}

// KindOf says what an event is of.
func KindOf(e *event.Event) string {
	switch {
	case e.Log != nil:
		return KindLog
	case e.Act != nil:
		return string(e.Act.Kind)
	case e.Open:
		return KindOpen
	case e.Connection != nil:
		return KindConnection
	}
	return KindRequest
}

func sideOf(e *event.Event) string {
	side := e.SeenAt()
	switch {
	case e.Act != nil || e.Log != nil || e.Connection != nil && side == event.SideUnknown:
		return ""
	case side == event.SideUnknown:
		return SideEdge
	}
	return side.String()
}

// OutcomeOf says what was decided; nothing of what others wrote.
func OutcomeOf(e *event.Event) string {
	switch {
	case e.Log != nil:
		return ""
	case e.Act != nil:
		return string(e.Act.Outcome.Known())
	case e.Allowed && e.DryRun:
		return DryRun
	case e.Allowed:
		return Allowed
	}
	if s := e.Refusing(); s != nil && s.Outcome == event.OutcomeError {
		return Error
	}
	return Denied
}

// ReasonOf is the code of why an event was not allowed, or would not have been but for a dry run.
func ReasonOf(e *event.Event) string {
	switch {
	case e.Act != nil:
		return e.Act.Reason
	case e.Allowed && !e.DryRun:
		return ""
	}
	if code := e.Refusing().Cause().Code; code != "" {
		return code
	}
	return e.Problem
}

// ofService is what stands before the name of a service in the objects of acts and in SPIFFE IDs.
const ofService = "service/"

// serviceOf is the service that was called; of an act the one it is about, else the proxy that saw it.
func serviceOf(e *event.Event) string {
	if e.Act == nil {
		return e.Service
	}
	if name, ok := strings.CutPrefix(e.Act.Object, ofService); ok {
		return name
	}
	if at := strings.LastIndex(e.Act.Who, "/"+ofService); at >= 0 {
		return e.Act.Who[at+1+len(ofService):]
	}
	return e.Act.Proxy
}

const spiffe = "spiffe://"

func userOf(e *event.Event) string {
	switch {
	case e.Act != nil && !strings.HasPrefix(e.Act.Who, spiffe):
		return e.Act.Who
	case e.Act == nil && e.User != nil:
		return e.User.Subject
	}
	return ""
}

func callerOf(e *event.Event) string {
	switch {
	case e.Act == nil:
		return e.Workload
	case strings.HasPrefix(e.Act.Who, spiffe):
		return e.Act.Who
	}
	return ""
}

func levelOf(e *event.Event) string {
	if e.Log == nil {
		return ""
	}
	return e.Log.Severity.Level()
}

// Texts hands out what Text looks through, until yield returns false.
func Texts(e *event.Event, yield func(string) bool) {
	some := func(texts ...string) bool {
		for _, s := range texts {
			if s != "" && !yield(s) {
				return false
			}
		}
		return true
	}
	if l := e.Log; l != nil {
		if some(l.Text, l.Source, e.Service, e.Workload, e.Host, e.Client) {
			AttributeTexts(l.Attributes, yield)
		}
		return
	}
	if a := e.Act; a != nil {
		some(a.Who, a.Object, a.Reason, a.Text, a.Proxy, e.Client)
		return
	}
	if !some(e.Service, e.Workload, userOf(e), e.Route, e.Host, e.Path, e.Query, e.UserAgent, e.Referer, e.Client, e.Problem, e.Upstream) {
		return
	}
	for _, h := range e.Headers {
		if !yield(h.Value) {
			return
		}
	}
	TrailTexts(e.Trail, yield)
}

// TrailTexts hands out what Text looks through in a trail. It reports whether yield wants more.
func TrailTexts(trail []event.Stage, yield func(string) bool) bool {
	for i := range trail {
		for j := range trail[i].Reasons {
			r := &trail[i].Reasons[j]
			if !yield(r.Code) || !yield(r.Text) || !yield(r.Policy) || !yield(r.Position) {
				return false
			}
			for _, v := range r.Data {
				if !yield(v) {
					return false
				}
			}
		}
	}
	return true
}

// AttributeTexts hands out what Text looks through in the attributes of a log record. It reports whether yield wants more.
func AttributeTexts(attributes map[string]string, yield func(string) bool) bool {
	for _, v := range attributes {
		if !yield(v) {
			return false
		}
	}
	return true
}
