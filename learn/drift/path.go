package drift

import (
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/palisade-security/palisade/internal/ident"
)

// mostLiterals is how many names may stand at one place of a path. Where there are more, they are values of a parameter.
const mostLiterals = 20

// place is a place in the tree of paths that the document does not have. What was folded in makes the same tree in any order.
type place struct {
	names map[string]*place // segments that are names
	param *place            // segments that are values
	kinds kinds             // of those values
	wide  bool              // more names than there can be: they are values
	doc   string            // what the document calls the parameter
	fixed bool              // a name that the document has
	ops   map[string]*operation
}

// branch is a place in the tree of the document's paths.
type branch struct {
	names map[string]*branch
	param *branch
	name  string // of the parameter
}

// documented is the tree of the document's paths.
func (s *service) documented() *branch {
	root := &branch{}
	for _, template := range s.api.Templates() {
		b := root
		for segment := range strings.SplitSeq(strings.TrimPrefix(s.api.Base()+template, "/"), "/") {
			b = b.down(segment)
		}
	}
	return root
}

func (b *branch) down(segment string) *branch {
	if name, ok := strings.CutPrefix(segment, "{"); ok && strings.IndexByte(name, '}') == len(name)-1 {
		if b.param == nil {
			b.param, b.name = &branch{}, strings.TrimSuffix(name, "}")
		}
		return b.param
	}
	if plain, err := url.PathUnescape(segment); err == nil {
		segment = plain
	}
	if b.names == nil {
		b.names = map[string]*branch{}
	}
	if b.names[segment] == nil {
		b.names[segment] = &branch{}
	}
	return b.names[segment]
}

func (p *place) methods() map[string]*operation {
	if p.ops == nil {
		p.ops = map[string]*operation{}
	}
	return p.ops
}

// down goes to the place of a path, and makes it if the tree may grow; else it is nil where there is none. Where the document has a
// parameter, there is one; otherwise what looks like a name is one, up to mostLiterals of them.
func (p *place) down(segments []string, doc *branch, grow bool) *place {
	for _, s := range segments {
		var next *place
		switch {
		case doc != nil && doc.names[s] != nil:
			if next = p.literal(s, grow); next != nil {
				next.fixed = true
			}
			doc = doc.names[s]
		case doc != nil && doc.param != nil && s != "":
			p.doc = doc.name
			next = p.value(s, grow)
			doc = doc.param
		case s == "" || !p.wide && ident.Name(s):
			if next = p.literal(s, grow); next != nil && s != "" && p.widen() {
				next = p.param
			}
			doc = nil
		default:
			next, doc = p.value(s, grow), nil
		}
		if next == nil {
			return nil
		}
		p = next
	}
	return p
}

func (p *place) literal(s string, grow bool) *place {
	if p.names[s] == nil && grow {
		if p.names == nil {
			p.names = map[string]*place{}
		}
		p.names[s] = &place{}
	}
	return p.names[s]
}

func (p *place) value(s string, grow bool) *place {
	if p.param == nil && grow {
		p.param = &place{}
	}
	p.kinds |= kindOf(s)
	return p.param
}

// widen makes values of the names, if they are too many.
func (p *place) widen() bool {
	n := 0
	for name, next := range p.names {
		if !next.fixed && name != "" {
			n++
		}
	}
	if n <= mostLiterals && !p.wide {
		return false
	}
	p.wide = true
	for _, name := range slices.Sorted(maps.Keys(p.names)) {
		if next := p.names[name]; !next.fixed && name != "" {
			delete(p.names, name)
			p.value(name, true).merge(next)
		}
	}
	return true
}

// merge takes in all that lies below another place.
func (p *place) merge(o *place) {
	p.kinds |= o.kinds
	p.wide = p.wide || o.wide
	for _, method := range slices.Sorted(maps.Keys(o.ops)) {
		if own := p.methods()[method]; own != nil {
			own.merge(o.ops[method])
		} else {
			p.ops[method] = o.ops[method]
		}
	}
	if o.param != nil {
		if p.param == nil {
			p.param = &place{}
		}
		p.param.merge(o.param)
	}
	for _, name := range slices.Sorted(maps.Keys(o.names)) {
		p.literal(name, true).merge(o.names[name])
	}
	p.widen()
}

// parameter is one of a path.
type parameter struct {
	name  string
	kinds kinds
}

// each hands out all operations below a place with the template of their path.
func (p *place) each(template string, params []parameter, yield func(template string, params []parameter, o *operation)) {
	for _, method := range slices.Sorted(maps.Keys(p.ops)) {
		yield(template, params, p.ops[method])
	}
	for _, name := range slices.Sorted(maps.Keys(p.names)) {
		p.names[name].each(template+"/"+url.PathEscape(name), params, yield)
	}
	if p.param != nil {
		name := p.nameOf(params)
		p.param.each(template+"/{"+name+"}", append(slices.Clip(params), parameter{name, p.kinds}), yield)
	}
}

// nameOf is what the parameter at a place is called: as the document calls it, or id, id2, ...
func (p *place) nameOf(params []parameter) string {
	first := p.doc
	if first == "" {
		first = "id"
	}
	name := first
	for n := 2; slices.ContainsFunc(params, func(q parameter) bool { return q.name == name }); n++ {
		name = first + strconv.Itoa(n)
	}
	return name
}
