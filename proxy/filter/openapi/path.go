package openapi

import (
	"errors"
	"net/url"
	"slices"
	"strings"
)

// part is a literal or, where param is set, a parameter within one path segment.
type part struct {
	text  string
	param bool
}

// branch is a place in the tree of path templates. Literal segments come first, as OpenAPI 3.0.3, section
// 4.7.8.2 has it; then templated ones, those with more literal text first.
type branch struct {
	literal map[string]*branch
	mixed   []mixed
	item    *item // ends here
}

type mixed struct {
	parts []part
	next  *branch
}

// item is a path of the document.
type item struct {
	template   string
	params     []string // names, in order
	operations map[string]*operation
}

var errTemplate = errors.New("not a path template")

// parsePath splits a template into its segments, decoding percent-encoded literals.
func parsePath(template string) (segments [][]part, params []string, err error) {
	tail, ok := strings.CutPrefix(template, "/")
	if !ok {
		return nil, nil, errTemplate
	}
	for segment := range strings.SplitSeq(tail, "/") {
		var parts []part
		for segment != "" {
			literal, rest, found := strings.Cut(segment, "{")
			if literal != "" {
				if literal, err = url.PathUnescape(literal); err != nil || strings.Contains(literal, "}") {
					return nil, nil, errTemplate
				}
				parts = append(parts, part{text: literal})
			}
			if !found {
				break
			}
			name, after, closed := strings.Cut(rest, "}")
			if !closed || name == "" || len(parts) > 0 && parts[len(parts)-1].param {
				return nil, nil, errTemplate
			}
			params = append(params, name)
			parts = append(parts, part{text: name, param: true})
			segment = after
		}
		segments = append(segments, parts)
	}
	return segments, params, nil
}

// add puts a path into the tree.
func (b *branch) add(segments [][]part, it *item) {
	for _, parts := range segments {
		if len(parts) == 0 || len(parts) == 1 && !parts[0].param {
			text := ""
			if len(parts) == 1 {
				text = parts[0].text
			}
			if b.literal == nil {
				b.literal = make(map[string]*branch)
			}
			if b.literal[text] == nil {
				b.literal[text] = &branch{}
			}
			b = b.literal[text]
			continue
		}
		i := slices.IndexFunc(b.mixed, func(m mixed) bool { return slices.EqualFunc(m.parts, parts, sameShape) })
		if i < 0 {
			i = len(b.mixed)
			b.mixed = append(b.mixed, mixed{parts, &branch{}})
		}
		b = b.mixed[i].next
	}
	b.item = it
}

// sameShape reports whether two parts match the same text.
func sameShape(a, b part) bool { return a.param == b.param && (a.param || a.text == b.text) }

// sort puts the more specific templates first, throughout the tree.
func (b *branch) sort() {
	slices.SortStableFunc(b.mixed, func(x, y mixed) int { return literalLength(y.parts) - literalLength(x.parts) })
	for _, next := range b.literal {
		next.sort()
	}
	for _, m := range b.mixed {
		m.next.sort()
	}
}

func literalLength(parts []part) int {
	n := 0
	for _, p := range parts {
		if !p.param {
			n += len(p.text)
		}
	}
	return n
}

// match finds the path of decoded segments and appends the values of its parameters. Each place of the tree is
// visited at most once, so the work is bounded by the document.
func (b *branch) match(segments []string, values []string) (*item, []string) {
	if len(segments) == 0 {
		return b.item, values
	}
	if next := b.literal[segments[0]]; next != nil {
		if it, v := next.match(segments[1:], values); it != nil {
			return it, v
		}
	}
	for i := range b.mixed {
		v, ok := cut(segments[0], b.mixed[i].parts, values)
		if !ok {
			continue
		}
		if it, v := b.mixed[i].next.match(segments[1:], v); it != nil {
			return it, v
		}
	}
	return nil, values
}

// cut takes a segment apart. A parameter is not empty and ends where the next literal first stands, the last
// one at the end of the segment.
func cut(segment string, parts []part, values []string) ([]string, bool) {
	for i, p := range parts {
		if !p.param {
			rest, ok := strings.CutPrefix(segment, p.text)
			if !ok {
				return values, false
			}
			segment = rest
			continue
		}
		end := len(segment)
		switch {
		case i+2 == len(parts):
			end = len(segment) - len(parts[i+1].text)
		case i+1 < len(parts):
			if end = -1; len(segment) > 1 {
				if at := strings.Index(segment[1:], parts[i+1].text); at >= 0 {
					end = at + 1
				}
			}
		}
		if end <= 0 {
			return values, false
		}
		values = append(values, segment[:end])
		segment = segment[end:]
	}
	return values, segment == ""
}
