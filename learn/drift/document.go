package drift

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/palisade-security/palisade/model"
)

// document is an API document as written, with what shall be added to it.
type document struct {
	tree   map[string]any
	modern bool // OpenAPI 3.1
	added  *part
}

func readDocument(text []byte) (*document, error) {
	tree, err := model.ReadDocument(text)
	if err != nil {
		return nil, err //nolint:wrapcheck // it says what it was doing
	}
	version, _ := tree["openapi"].(string)
	return &document{tree: tree, modern: strings.HasPrefix(version, "3.1"), added: &part{}}, nil
}

// part is what is added below a place of the document: keys in their order, elements of a list, or a value.
type part struct {
	keys  []string
	below map[string]*part
	list  []any
	value any
}

func (p *part) down(key string) *part {
	if p.below == nil {
		p.below = map[string]*part{}
	}
	if p.below[key] == nil {
		p.below[key] = &part{}
		p.keys = append(p.keys, key)
	}
	return p.below[key]
}

func (d *document) place(path []string) *part {
	p := d.added
	for _, key := range path {
		p = p.down(key)
	}
	return p
}

// set puts a value where none is; the first one stays.
func (d *document) set(path []string, value any) {
	if p := d.place(path); p.value == nil && p.below == nil && p.list == nil {
		p.value = value
	}
}

// push appends to a list.
func (d *document) push(path []string, value any) {
	p := d.place(path)
	p.list = append(p.list, value)
}

// whole is what stands at a place that the document does not have.
func (p *part) whole() any {
	switch {
	case p.value != nil:
		return p.value
	case p.list != nil:
		return p.list
	}
	o := make(model.Object, 0, len(p.keys))
	for _, key := range p.keys {
		o = append(o, model.Member{Key: key, Value: p.below[key].whole()})
	}
	return o
}

// addition is what goes into a document, and its place as a normalized path of JSONPath (RFC 9535, section 2.7).
type addition struct {
	model.Addition
	target string
}

// additions are what was added, each where the document ends.
func (d *document) additions() []addition {
	return additions(nil, d.added, d.tree, addition{target: "$"})
}

func additions(out []addition, p *part, n any, at addition) []addition {
	at.Path = slices.Clip(at.Path)
	switch n := n.(type) {
	case map[string]any:
		for _, key := range p.keys {
			one := at
			if next, found := n[key]; found {
				one.Path = append(at.Path, key)
				one.target += "['" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(key) + "']"
				out = additions(out, p.below[key], next, one)
				continue
			}
			one.Key, one.Value = key, p.below[key].whole()
			out = append(out, one)
		}
	case []any:
		for _, item := range p.list {
			one := at
			one.Value = item
			out = append(out, one)
		}
		for _, key := range p.keys {
			if i, err := strconv.Atoi(key); err == nil && i >= 0 && i < len(n) {
				out = additions(out, p.below[key], n[i], addition{Addition: model.Addition{Path: append(at.Path, key)}, target: at.target + "[" + key + "]"})
			}
		}
	}
	return out
}

// at is what stands at a path; nil: nothing.
func (d *document) at(path []string) any {
	var n any = d.tree
	for _, key := range path {
		switch m := n.(type) {
		case map[string]any:
			n = m[key]
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i < 0 || i >= len(m) {
				return nil
			}
			n = m[i]
		default:
			return nil
		}
	}
	return n
}

// mostReferences bounds chains of them.
const mostReferences = 16

// follow is the place that a path leads to, where references stand on it, and the mapping there. Nil: there is none.
func (d *document) follow(path ...string) ([]string, map[string]any) {
	for range mostReferences {
		n, ok := d.at(path).(map[string]any)
		if !ok {
			return path, nil
		}
		ref, ok := n["$ref"].(string)
		if !ok {
			return path, n
		}
		pointer, ok := strings.CutPrefix(ref, "#/")
		if !ok {
			return path, nil
		}
		path = nil
		for token := range strings.SplitSeq(pointer, "/") {
			if plain, err := url.PathUnescape(token); err == nil {
				token = plain
			}
			path = append(path, strings.NewReplacer("~1", "/", "~0", "~").Replace(token)) // RFC 6901, section 4
		}
	}
	return path, nil
}

// below is a path with more of it, of its own.
func below(path []string, more ...string) []string { return append(slices.Clip(path), more...) }
