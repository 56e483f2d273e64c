package query

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/palisade-security/palisade/event"
)

// Expr is a node of the tree: And, Or, Not, Is, Prefix, Number or Text.
//
//sumtype:decl
type Expr interface {
	match(e *event.Event) bool
	append(dst []byte, inside int) []byte
}

// And is all of its parts, of which there is at least one.
type And []Expr

// Or is any of its parts, of which there is at least one.
type Or []Expr

// Not is the others.
type Not struct{ Of Expr }

// Is compares a text field. A caller is named by its SPIFFE ID or the end of it after a slash.
type Is struct {
	Field Field
	Value string
}

// Prefix compares the beginning of a text field; the empty prefix is any text but the empty one.
type Prefix struct {
	Field Field
	Value string
}

// Number compares a number field.
type Number struct {
	Field Field
	Op    Op
	Value int64 // nanoseconds, nanoseconds since 1970, status
}

// Text is what is said anywhere in an event (Texts), in upper or lower case.
type Text struct{ Words string }

// Op is how numbers are compared. The zero value is equality.
type Op uint8

// The comparisons.
const (
	Equal Op = iota
	Less
	AtMost
	More
	AtLeast
)

var ops = [...]string{Equal: "", Less: "<", AtMost: "<=", More: ">", AtLeast: ">="} //nolint:gochecknoglobals // a constant table

func (o Op) String() string {
	if int(o) < len(ops) {
		return ops[o]
	}
	return "?"
}

// Match tells whether an event is meant.
func (q *Query) Match(e *event.Event) bool {
	from, to := q.Bounds()
	at := NumberOf(e, Time)
	return at >= from && (at < to || to == maxTime) && (q.Where == nil || q.Where.match(e))
}

func (x And) match(e *event.Event) bool {
	return !slices.ContainsFunc(x, func(p Expr) bool { return !p.match(e) })
}

func (x Or) match(e *event.Event) bool {
	return slices.ContainsFunc(x, func(p Expr) bool { return p.match(e) })
}

func (x Not) match(e *event.Event) bool    { return !x.Of.match(e) }
func (x Is) match(e *event.Event) bool     { return x.Match(TextOf(e, x.Field)) }
func (x Prefix) match(e *event.Event) bool { return x.Match(TextOf(e, x.Field)) }
func (x Number) match(e *event.Event) bool { return x.Match(NumberOf(e, x.Field)) }

func (x Text) match(e *event.Event) bool {
	f := x.Finder()
	found := false
	Texts(e, func(s string) bool {
		found = f.In(s)
		return !found
	})
	return found
}

// Match compares the value of the field.
func (x Is) Match(v string) bool {
	v = Shown(v)
	return v == x.Value || x.Field == Caller && x.Value != "" && strings.HasSuffix(v, "/"+x.Value)
}

// Match compares the value of the field.
func (x Prefix) Match(v string) bool {
	return v != "" && strings.HasPrefix(Shown(v), x.Value)
}

// Match compares the value of the field.
func (x Number) Match(v int64) bool {
	switch x.Op {
	case Equal:
		return v == x.Value
	case Less:
		return v < x.Value
	case AtMost:
		return v <= x.Value
	case More:
		return v > x.Value
	case AtLeast:
		return v >= x.Value
	}
	return false
}

func (x Number) check() error {
	if !x.Field.IsNumber() {
		return fmt.Errorf("%s is not compared as a number", x.Field)
	}
	if x.Op > AtLeast {
		return fmt.Errorf("there is no comparison %d", x.Op)
	}
	return nil
}

// Finder looks for words in texts.
type Finder struct{ folded string }

// Finder prepares the search.
func (x Text) Finder() Finder { return Finder{Fold(x.Words)} }

// In tells whether s says the words.
func (f Finder) In(s string) bool { return strings.Contains(Fold(s), f.folded) }

// Folded is what is looked for in texts that are folded already.
func (f Finder) Folded() string { return f.folded }

// Fold brings texts into the form in which they are compared: lower case.
func Fold(s string) string { return strings.ToLower(Shown(s)) }

// Shown is a text as it is compared and counted by: without NUL, which not every store can hold.
func Shown(s string) string {
	if strings.IndexByte(s, 0) < 0 {
		return s
	}
	return strings.ReplaceAll(s, "\x00", "\uFFFD")
}

// instant is how times stand in queries.
const instant = time.RFC3339Nano
