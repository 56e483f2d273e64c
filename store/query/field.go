package query

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/palisade-security/palisade/event"
)

// Field is what of an event can be compared.
type Field uint8

// The fields. Time, Status and Duration are numbers, the others texts; what an event does not have is empty or 0.
const (
	None     Field = iota
	Time           // when it happened, nanoseconds since 1970
	Duration       // how long it took, nanoseconds
	Status         // of the answer; 0: none
	ID             // request id
	Trace          // W3C trace id
	Kind           // request, connection, open (written before forwarding), log, or a kind of act
	Side           // where it was seen: edge, inbound, outbound, egress
	Outcome        // allowed, denied, error (could not decide), dry-run (allowed only by that); of acts done, denied, failed
	Reason         // code of why it was not allowed
	Service        // that was called, or that an act is about
	User           // who asked: subject of the user, administrator of an act
	Caller         // SPIFFE ID of the service that asked
	Route
	Method
	Host
	Path
	Address // of the client
	Level   // severity of a log record: trace, debug, info, warn, error, fatal
)

// Fields lists the fields in the order they are shown.
func Fields() []Field {
	out := make([]Field, 0, Level)
	for f := Time; f <= Level; f++ {
		out = append(out, f)
	}
	return out
}

var names = [...]string{ //nolint:gochecknoglobals // a constant table
	None: "", Time: "time", Duration: "duration", Status: "status", ID: "id", Trace: "trace", Kind: "kind", Side: "side",
	Outcome: "outcome", Reason: "reason", Service: "service", User: "user", Caller: "caller", Route: "route",
	Method: "method", Host: "host", Path: "path", Address: "address", Level: "level",
}

// String returns the name in queries.
func (f Field) String() string {
	if int(f) < len(names) {
		return names[f]
	}
	return "unknown"
}

// FieldNamed returns a field by its name in queries; None if there is none.
func FieldNamed(name string) Field {
	for f := Time; f <= Level; f++ {
		if names[f] == name {
			return f
		}
	}
	return None
}

// IsNumber tells whether a field is compared as a number.
func (f Field) IsNumber() bool { return f == Time || f == Duration || f == Status }

// IsText tells whether a field is compared as text.
func (f Field) IsText() bool { return f > Status && f <= Level }

// Countable tells whether events can be counted by a field.
func (f Field) Countable() bool { return f.IsText() || f == Status }

// The values of Outcome.
const (
	Allowed = "allowed"
	Denied  = "denied"
	Error   = "error"
	DryRun  = "dry-run"
)

// The values of Kind beside the kinds of acts.
const (
	KindRequest    = "request"
	KindConnection = "connection"
	KindOpen       = "open"
	KindLog        = "log"
)

// SideEdge is the Side of requests that were seen outside the mesh.
const SideEdge = "edge"

// Values lists what a field can be, nil if that is not a closed set.
func (f Field) Values() []string {
	switch f {
	case Kind:
		out := []string{KindRequest, KindConnection, KindOpen, KindLog}
		for _, k := range event.Kinds() {
			out = append(out, string(k))
		}
		return out
	case Side:
		return []string{SideEdge, event.SideInbound.String(), event.SideOutbound.String(), event.SideEgress.String()}
	case Outcome:
		return []string{Allowed, Denied, Error, DryRun, string(event.Done), string(event.Failed)}
	case Level:
		return event.Levels()
	default:
		return nil
	}
}

// accepts reports why a field cannot be v.
func (f Field) accepts(v string) error {
	if !f.IsText() {
		return fmt.Errorf("%s is not compared as text", f)
	}
	if all := f.Values(); all != nil && v != "" && !slices.Contains(all, v) {
		return fmt.Errorf("no event has the %s %s; choose one of %s", f, quoted(v), strings.Join(all, ", "))
	}
	return checkValue(v)
}

func (f Field) acceptsPrefix(v string) error {
	if !f.IsText() {
		return fmt.Errorf("%s is not compared as text", f)
	}
	return checkValue(v)
}

// checkValue refuses what cannot stand in a value.
func checkValue(v string) error {
	if len(v) > maxText {
		return fmt.Errorf("a value has %d bytes, more than %d", len(v), maxText)
	}
	if !utf8.ValidString(v) || strings.ContainsFunc(v, unicode.IsControl) {
		return fmt.Errorf("the value %s has control characters or is not UTF-8", quoted(v))
	}
	return nil
}
