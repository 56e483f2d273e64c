package route

import (
	"errors"
	"slices"
)

// node stands for a prefix of path templates. Each is reached by one prefix only, so a search visits a node at
// most once, however it backtracks.
type node[T any] struct {
	literal map[string]*node[T]
	param   *node[T]
	end     *leaf[T] // templates that end here
	rest    *leaf[T] // templates that go on with a rest
}

// leaf is what one template shape leads to.
type leaf[T any] struct {
	methods []binding[T]
	allow   []string // sorted
}

type binding[T any] struct {
	method string
	entry  *Entry[T]
}

// insert adds an entry below n.
func (n *node[T]) insert(e *Entry[T]) error {
	for _, s := range e.Path {
		switch {
		case s.Rest:
			if n.rest == nil {
				n.rest = &leaf[T]{}
			}
			return n.rest.bind(e)
		case s.Param != "":
			if n.param == nil {
				n.param = &node[T]{}
			}
			n = n.param
		default:
			next := n.literal[s.Literal]
			if next == nil {
				next = &node[T]{}
				if n.literal == nil {
					n.literal = map[string]*node[T]{}
				}
				n.literal[s.Literal] = next
			}
			n = next
		}
	}
	if n.end == nil {
		n.end = &leaf[T]{}
	}
	return n.end.bind(e)
}

// bind gives the entry its methods and reports those that another entry has.
func (l *leaf[T]) bind(e *Entry[T]) error {
	var errs []error
	for _, method := range e.Methods {
		at := slices.IndexFunc(l.methods, func(b binding[T]) bool { return b.method == method })
		if at < 0 {
			l.methods = append(l.methods, binding[T]{method, e})
			l.allow = append(l.allow, method)
			continue
		}
		if first := l.methods[at].entry; first != e {
			errs = append(errs, &Conflict{First: first.Name, Second: e.Name, Host: e.Host, Path: first.Path.String(), Method: method})
		}
	}
	slices.Sort(l.allow)
	return errors.Join(errs...)
}

// find returns the leaf of the most specific template that matches all segments, or nil.
func (n *node[T]) find(segments []string) *leaf[T] {
	if len(segments) == 0 {
		if n.end != nil {
			return n.end
		}
		return n.rest
	}
	if next := n.literal[segments[0]]; next != nil {
		if l := next.find(segments[1:]); l != nil {
			return l
		}
	}
	if n.param != nil && segments[0] != "" {
		if l := n.param.find(segments[1:]); l != nil {
			return l
		}
	}
	return n.rest
}
