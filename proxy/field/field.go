// Package field holds header fields as an ordered list, the form in which they travel through the engine.
// It is not a general replacement for net/http's Header: it keeps order and duplicates and never rewrites a value.
package field

import (
	"slices"
	"strings"
)

// Field is one header or trailer field line (RFC 9110, section 5).
type Field struct {
	Name  string // canonical MIME form, e.g. "Content-Type"
	Value string // without surrounding white space
}

// List is an ordered list of fields. Names compare case-insensitively
// in ASCII. A List is not safe for concurrent change.
type List []Field

// Get returns the first value of name, or "".
func (l List) Get(name string) string {
	for i := range l {
		if same(l[i].Name, name) {
			return l[i].Value
		}
	}
	return ""
}

// Has reports whether a field of that name is present.
func (l List) Has(name string) bool { return l.Count(name) > 0 }

// Count returns the number of field lines of that name.
func (l List) Count(name string) int {
	n := 0
	for i := range l {
		if same(l[i].Name, name) {
			n++
		}
	}
	return n
}

// Values returns all values of name in order.
func (l List) Values(name string) []string {
	var out []string
	for i := range l {
		if same(l[i].Name, name) {
			out = append(out, l[i].Value)
		}
	}
	return out
}

// Add appends a field line.
func (l *List) Add(name, value string) { *l = append(*l, Field{name, value}) }

// Set replaces every field line of name by one.
func (l *List) Set(name, value string) {
	l.Del(name)
	l.Add(name, value)
}

// Del removes every field line of name, in place.
func (l *List) Del(name string) {
	l.DelFunc(func(f Field) bool { return same(f.Name, name) })
}

// DelFunc removes, in place, every field line for which drop returns true.
func (l *List) DelFunc(drop func(Field) bool) {
	first := slices.IndexFunc(*l, drop)
	if first < 0 {
		return // most often, and then nothing is written
	}
	kept := (*l)[:first]
	for _, f := range (*l)[first+1:] {
		if !drop(f) {
			kept = append(kept, f)
		}
	}
	clear((*l)[len(kept):])
	*l = kept
}

// same reports whether two names are the same. They are tokens, so that they then have the same length.
func same(a, b string) bool { return len(a) == len(b) && strings.EqualFold(a, b) }

// Clone returns a copy that shares nothing with l but the strings.
func (l List) Clone() List { return append(List(nil), l...) }
