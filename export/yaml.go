package export

import (
	"encoding/json"
	"strconv"
	"strings"
)

// The values of a document: string, int, bool, nil, fields, list, and marked ones of these.
type (
	fields []field // a mapping in its order
	list   []any
	field  struct {
		key   string
		value any
	}
	// marked is a value with a comment above it, or with a tag such as !reset.
	marked struct {
		comment, tag string
		value        any
	}
)

// encode writes a document in the part of YAML that all its readers agree on: block collections, and strings in
// double quotes unless they are plain words in every version of YAML.
func encode(document fields) string { return strings.Join(document.lines(), "\n") + "\n" }

func (all fields) lines() []string {
	var out []string
	for _, f := range all {
		m := unmark(f.value)
		if m.comment != "" {
			out = append(out, "# "+oneLine(m.comment))
		}
		head := quoted(f.key) + ":"
		if m.tag != "" {
			head += " " + m.tag
		}
		switch v := m.value.(type) {
		case fields:
			if len(v) > 0 {
				out = append(append(out, head), indented("  ", "  ", v.lines())...)
				continue
			}
		case list:
			if len(v) > 0 {
				out = append(append(out, head), v.lines()...)
				continue
			}
		}
		out = append(out, head+" "+scalar(m.value))
	}
	return out
}

func (all list) lines() []string {
	var out []string
	for _, value := range all {
		m := unmark(value)
		if m.comment != "" {
			out = append(out, "# "+oneLine(m.comment))
		}
		if v, ok := m.value.(fields); ok && len(v) > 0 {
			out = append(out, indented("- ", "  ", v.lines())...)
			continue
		}
		out = append(out, "- "+scalar(m.value))
	}
	return out
}

func unmark(value any) marked {
	if m, ok := value.(marked); ok {
		return m
	}
	return marked{value: value}
}

// indented puts one text before the first line and another before the rest.
func indented(first, rest string, lines []string) []string {
	for i := range lines {
		lines[i] = first + lines[i]
		first = rest
	}
	return lines
}

func scalar(value any) string {
	switch v := value.(type) {
	case string:
		return quoted(v)
	case int:
		return strconv.Itoa(v)
	case bool:
		return strconv.FormatBool(v)
	case fields:
		return "{}"
	case list:
		return "[]"
	}
	return "null"
}

// quoted writes a string: JSON's quotes are YAML's.
func quoted(s string) string {
	if plain(s) {
		return s
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string is always encoded
	return strings.TrimSuffix(b.String(), "\n")
}

// plain tells whether every reader takes a bare word for a string: YAML 1.1 reads on, no and y as truth values.
func plain(s string) bool {
	for i, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '/'
		if !letter && (i == 0 || !strings.ContainsRune("0123456789_.-", r)) {
			return false
		}
	}
	switch strings.ToLower(s) {
	case "", "null", "true", "false", "yes", "no", "on", "off", "y", "n":
		return false
	}
	return true
}

// oneLine keeps a comment one.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 {
			return '?'
		}
		return r
	}, s)
}

// words are strings as a list.
func words(all ...string) list {
	out := make(list, len(all))
	for i, s := range all {
		out[i] = s
	}
	return out
}
