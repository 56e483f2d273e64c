package drift

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/palisade-security/palisade/event"
)

// kinds is a set of JSON types.
type kinds uint8

const (
	kindNull kinds = 1 << iota
	kindBoolean
	kindInteger
	kindNumber
	kindString
	kindArray
	kindObject
	kindUUID // a string of that format
)

func kindNames() []string {
	return []string{"null", "boolean", "integer", "number", "string", "array", "object", "uuid"}
}

func kindNamed(name string) kinds {
	if i := slices.Index(kindNames(), name); i >= 0 {
		return 1 << i
	}
	return 0
}

// names are the types, without those that others say already.
func (k kinds) names() (out []string) {
	k = k.least()
	for i, name := range kindNames() {
		if k&(1<<i) != 0 {
			out = append(out, name)
		}
	}
	return out
}

func (k kinds) least() kinds {
	if k&kindNumber != 0 {
		k &^= kindInteger
	}
	if k&kindString != 0 {
		k &^= kindUUID
	}
	return k
}

var (
	integerForm = regexp.MustCompile(`^-?(0|[1-9][0-9]{0,17})$`)
	numberForm  = regexp.MustCompile(`^-?(0|[1-9][0-9]{0,17})\.[0-9]{1,17}$`)
	uuidForm    = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
)

// kindOf is what a text in a query or a path reads as.
func kindOf(s string) kinds {
	switch {
	case s == "true" || s == "false":
		return kindBoolean
	case integerForm.MatchString(s):
		return kindInteger
	case numberForm.MatchString(s):
		return kindNumber
	case uuidForm.MatchString(s):
		return kindUUID
	}
	return kindString
}

// The bounds of a tally.
const (
	mostSamples = 3
	mostWho     = 16
)

// tally is how often something was seen, when, by whom, and of which types.
type tally struct {
	count       int64
	first, last time.Time
	kinds       kinds
	by          map[string]int64
	samples     []string // ids of events
}

func (t *tally) add(e *event.Event, who string, k kinds) {
	t.count++
	t.within(e.Time, e.Time)
	t.kinds |= k
	t.whom(who, 1)
	if len(t.samples) < mostSamples {
		t.samples = append(t.samples, e.ID)
	}
}

func (t *tally) within(first, last time.Time) {
	if t.first.IsZero() || first.Before(t.first) {
		t.first = first
	}
	if last.After(t.last) {
		t.last = last
	}
}

func (t *tally) whom(who string, n int64) {
	if t.by == nil {
		t.by = map[string]int64{}
	}
	if _, known := t.by[who]; !known && len(t.by) >= mostWho {
		who = "others"
	}
	t.by[who] += n
}

func (t *tally) merge(o *tally) {
	t.count += o.count
	t.within(o.first, o.last)
	t.kinds |= o.kinds
	for _, who := range slices.Sorted(maps.Keys(o.by)) {
		t.whom(who, o.by[who])
	}
	t.samples = append(t.samples, o.samples...)
	slices.SortFunc(t.samples, func(a, b string) int { return strings.Compare(b, a) }) // the newest first
	t.samples = t.samples[:min(len(t.samples), mostSamples)]
}

// tallies are those of names, at most so many.
type tallies map[string]*tally

// of is the tally of a name, nil without room.
func (t tallies) of(name string, most int) *tally {
	one := t[name]
	if one == nil && len(t) < most {
		one = &tally{}
		t[name] = one
	}
	return one
}

func (t tallies) merge(o tallies, most int) (dropped int64) {
	for _, name := range slices.Sorted(maps.Keys(o)) {
		if one := t.of(name, most); one != nil {
			one.merge(o[name])
		} else {
			dropped++
		}
	}
	return dropped
}
