package model

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// maxTemplate bounds a path template in bytes, maxSegments in segments.
const (
	maxTemplate = 2048
	maxSegments = 64
)

// TemplateSegment is one part of a path template between two slashes. Exactly one of its meanings holds: Rest,
// a parameter when Param is not empty, else the literal (which is empty for the last segment of "/a/").
type TemplateSegment struct {
	Literal string // the segment as it stands in a canonical path, decoded
	Param   string // name of the parameter that stands for the whole segment
	Rest    bool   // zero or more remaining segments; only last
}

// Template is a parsed path template: the segments after each slash. "/" is one empty literal, "/a/" is "a" and
// an empty literal, "/a/**" is "a" and a rest. A trailing slash makes a different template.
type Template []TemplateSegment

// errTemplate starts no message of its own; the wrapped text says what is expected.
var errTemplate = errors.New("is not a path template")

// ParseTemplate parses a path template such as /orders/{id} or /assets/**. Templates are written as canonical
// paths are: absolute, without empty or dot segments and without percent-encoding.
func ParseTemplate(path string) (Template, error) {
	fail := func(format string, args ...any) (Template, error) {
		return nil, fmt.Errorf("%q %w: %s", path, errTemplate, fmt.Sprintf(format, args...))
	}
	if len(path) > maxTemplate {
		return nil, fmt.Errorf("path of %d bytes %w: at most %d bytes", len(path), errTemplate, maxTemplate)
	}
	tail, ok := strings.CutPrefix(path, "/")
	if !ok {
		return fail("it must begin with /")
	}
	parts := strings.Split(tail, "/")
	if len(parts) > maxSegments {
		return fail("at most %d segments", maxSegments)
	}
	t := make(Template, 0, len(parts))
	for i, part := range parts {
		last := i == len(parts)-1
		if part == "" && !last {
			return fail("it must not contain //")
		}
		segment, err := parseSegment(part)
		if err != nil {
			return fail("%s", err)
		}
		if segment.Rest && !last {
			return fail("** may only be the last segment")
		}
		if segment.Param != "" && slices.ContainsFunc(t, func(s TemplateSegment) bool { return s.Param == segment.Param }) {
			return fail("parameter {%s} is named twice", segment.Param)
		}
		t = append(t, segment)
	}
	return t, nil
}

func parseSegment(part string) (TemplateSegment, error) {
	switch {
	case part == "**":
		return TemplateSegment{Rest: true}, nil
	case part == "." || part == "..":
		return TemplateSegment{}, errors.New("it must not contain dot segments")
	case strings.HasPrefix(part, "{") && strings.HasSuffix(part, "}"):
		name := part[1 : len(part)-1]
		if !isParamName(name) {
			return TemplateSegment{}, fmt.Errorf("%q is not a parameter name; write letters, digits and _, beginning with a letter", name)
		}
		return TemplateSegment{Param: name}, nil
	}
	for _, r := range part {
		switch {
		case r == '{' || r == '}':
			return TemplateSegment{}, fmt.Errorf("in %q a parameter must be the whole segment", part)
		case r == '*':
			return TemplateSegment{}, fmt.Errorf("in %q * has no meaning; write ** as the last segment or a {parameter}", part)
		case r == '%':
			return TemplateSegment{}, errors.New("it must not be percent-encoded; write the character itself")
		case !isPathChar(r):
			return TemplateSegment{}, fmt.Errorf("character %q cannot stand in a path", r)
		}
	}
	return TemplateSegment{Literal: part}, nil
}

func isParamName(s string) bool {
	for i, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '_'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

// isPathChar tells whether r is a pchar that needs no encoding (RFC 3986, section 3.3). The semicolon is left
// out: some servers cut path parameters there, and what they cut was authorised.
func isPathChar(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-._~!$&'()+,=:@", r)
}

// String writes the template as it was parsed.
func (t Template) String() string {
	var b strings.Builder
	for _, s := range t {
		b.WriteByte('/')
		switch {
		case s.Rest:
			b.WriteString("**")
		case s.Param != "":
			b.WriteString("{" + s.Param + "}")
		default:
			b.WriteString(s.Literal)
		}
	}
	return b.String()
}

// Shape is the template without the names of its parameters: two templates match the same paths exactly when
// their shapes are equal.
func (t Template) Shape() string {
	anonymous := slices.Clone(t)
	for i := range anonymous {
		if anonymous[i].Param != "" {
			anonymous[i].Param = "_"
		}
	}
	return anonymous.String()
}

// Covers tells whether every path that o matches is matched by t too.
func (t Template) Covers(o Template) bool {
	for i, s := range t {
		switch {
		case s.Rest:
			return true
		case i >= len(o) || o[i].Rest:
			return false
		case s.Param != "":
			if o[i].Param == "" && o[i].Literal == "" {
				return false
			}
		case o[i].Param != "" || s.Literal != o[i].Literal:
			return false
		}
	}
	return len(t) == len(o)
}

// Meet returns the template of the paths that both match; not ok means that there is none.
func (t Template) Meet(o Template) (both Template, ok bool) {
	for i := 0; ; i++ {
		switch {
		case i < len(t) && t[i].Rest:
			return append(both, o[min(i, len(o)):]...), true
		case i < len(o) && o[i].Rest:
			return append(both, t[min(i, len(t)):]...), true
		case i >= len(t) || i >= len(o):
			return both, len(t) == len(o)
		}
		a, b := t[i], o[i]
		if a.Param != "" {
			a, b = b, a
		}
		if b.Param == "" && a.Literal != b.Literal || b.Param != "" && a.Param == "" && a.Literal == "" {
			return nil, false
		}
		both = append(both, a)
	}
}
