// Package route finds the declared route of a request by host, path and method. A Matcher is compiled once per
// snapshot and never changes. The package looks at canonical requests only: hosts, paths and segments as
// proxy/canon returns them. It decides nothing but where a request belongs.
package route

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/canon"
)

// Entry is one declared route.
type Entry[T any] struct {
	Name    string // for messages
	Host    string // canonical, or "*." and a canonical name: exactly one more label
	Path    model.Template
	Methods []string
	Value   T
}

// Outcome is what a match came to.
type Outcome int

// The outcomes of a match.
const (
	NotFound         Outcome = iota // no route has this host and path
	Found                           // Value and Params are set
	MethodNotAllowed                // the path is declared, but not with this method; Allow is set
)

// Result is the answer to one match.
type Result[T any] struct {
	Outcome Outcome
	Value   T
	Params  []proxy.Param // the parameters of the path template, in order, appended to what Match was given
	Allow   []string      // methods of the path, sorted; must not be changed
}

// Conflict says that two routes claim the same requests.
type Conflict struct {
	First, Second string // names of the routes, sorted
	Host          string
	Path          string // template of First
	Method        string
}

// Error names both routes.
func (c *Conflict) Error() string {
	return fmt.Sprintf("routes %q and %q both take %s %s%s", c.First, c.Second, c.Method, c.Host, c.Path)
}

// Matcher matches requests to routes. It is immutable and safe for concurrent use.
//
// The host decides first: the exact name, else the wildcard of its parent; a path that the chosen host lacks
// is not looked for at the other. Then the path: at each segment a literal wins over a parameter, and that over
// a rest, and where the better one leads nowhere the next is tried. So the most specific template wins, in
// whatever order routes were declared. A parameter takes one segment that is not empty, a rest takes zero or
// more of any kind, and a trailing slash counts. The method comes last: what the winning path does not
// declare is not looked for at a less specific one, for that one may have another policy.
type Matcher[T any] struct {
	exact    map[string]*node[T]
	wildcard map[string]*node[T] // by the name behind "*."
}

// Compile builds the matcher of a snapshot's routes; its values are indices into routes.
func Compile(routes []model.ResolvedRoute) (*Matcher[int], error) {
	entries := make([]Entry[int], 0, len(routes))
	var errs []error
	for i := range routes {
		path, err := model.ParseTemplate(routes[i].Path)
		if err != nil {
			errs = append(errs, fmt.Errorf("compiling route %q: %w", routes[i].ID, err))
			continue
		}
		entries = append(entries, Entry[int]{routes[i].ID, routes[i].Host, path, routes[i].Methods, i})
	}
	m, err := Build(entries)
	if err := errors.Join(append(errs, err)...); err != nil {
		return nil, err
	}
	return m, nil
}

// Build compiles entries. It reports all mistakes at once, joined: a *Conflict for each pair of routes that
// claim the same host, path and method, and an error for each entry without canonical host, path or methods.
func Build[T any](entries []Entry[T]) (*Matcher[T], error) {
	sorted := slices.Clone(entries) // by name, so that messages do not depend on the order either
	slices.SortStableFunc(sorted, func(a, b Entry[T]) int { return strings.Compare(a.Name, b.Name) })
	m := &Matcher[T]{exact: map[string]*node[T]{}, wildcard: map[string]*node[T]{}}
	var errs []error
	for i := range sorted {
		if err := m.add(&sorted[i]); err != nil {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return m, nil
}

// add puts one entry into the tree of its host.
func (m *Matcher[T]) add(e *Entry[T]) error {
	hosts, name := m.exact, e.Host
	if parent, ok := strings.CutPrefix(name, "*."); ok {
		hosts, name = m.wildcard, parent
	}
	if host, port, err := canon.Host(name); err != nil || host != name || port != 0 {
		return fmt.Errorf("compiling route %q: host %q is not a canonical host name without port", e.Name, e.Host)
	}
	if len(e.Path) == 0 || len(e.Methods) == 0 {
		return fmt.Errorf("compiling route %q: it needs a path and at least one method", e.Name)
	}
	root := hosts[name]
	if root == nil {
		root = &node[T]{}
		hosts[name] = root
	}
	return root.insert(e)
}

// Match finds the route for a canonical host, a method and decoded path segments (for "/" one empty segment).
// It appends the path's parameters to params and allocates nothing else.
func (m *Matcher[T]) Match(host, method string, segments []string, params []proxy.Param) Result[T] {
	root := m.exact[host]
	if root == nil {
		_, parent, _ := strings.Cut(host, ".")
		root = m.wildcard[parent]
	}
	if root == nil {
		return Result[T]{Params: params}
	}
	l := root.find(segments)
	if l == nil {
		return Result[T]{Params: params}
	}
	for i := range l.methods {
		if l.methods[i].method == method {
			e := l.methods[i].entry
			return Result[T]{Outcome: Found, Value: e.Value, Params: appendParams(params, e.Path, segments)}
		}
	}
	return Result[T]{Outcome: MethodNotAllowed, Params: params, Allow: l.allow}
}

// appendParams names the segments that the template's parameters stand for.
func appendParams(params []proxy.Param, path model.Template, segments []string) []proxy.Param {
	for i := range path {
		if path[i].Param != "" {
			params = append(params, proxy.Param{Name: path[i].Param, Value: segments[i]})
		}
	}
	return params
}
