package openapi

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Operation is a declared method of a declared path, for those who compare a document with what was seen.
type Operation struct {
	api *API
	op  *operation
}

// Operations returns all that the document declares, by path template and method.
func (a *API) Operations() []Operation {
	var out []Operation
	for _, it := range a.items {
		for _, method := range slices.Sorted(maps.Keys(it.operations)) {
			out = append(out, Operation{a, it.operations[method]})
		}
	}
	return out
}

// Find returns the operation that a request is judged by; ok is false if none is declared.
func (a *API) Find(method string, segments []string) (o Operation, ok bool) {
	it, _ := a.root.match(segments, nil)
	op := it.operation(method)
	return Operation{a, op}, op != nil
}

// Base is the path of the first server, before all templates, without a slash at its end.
func (a *API) Base() string { return a.base }

// Template returns the path template with these segments, "" if none is declared.
func (a *API) Template(segments []string) string {
	if it, _ := a.root.match(segments, nil); it != nil {
		return it.template
	}
	return ""
}

// Templates returns all path templates in the document's order.
func (a *API) Templates() []string {
	out := make([]string, len(a.items))
	for i, it := range a.items {
		out[i] = it.template
	}
	return out
}

// Template is the path template, without the path of the server.
func (o Operation) Template() string { return o.op.item.template }

// Method is the declared method.
func (o Operation) Method() string { return o.op.method }

// Position is where it stands: file:line:col.
func (o Operation) Position() string { return o.op.position }

// Parameters are the names of the declared query parameters, sorted.
func (o Operation) Parameters() []string { return slices.Sorted(maps.Keys(o.op.query)) }

// DeclaresQuery reports whether a query parameter of that name is declared, or any is.
func (o Operation) DeclaresQuery(name string) bool {
	return o.op.free || o.op.query[name] || o.api.queries[name] || slices.ContainsFunc(o.op.prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
}

// DeclaresHeader reports whether a header of that name is declared, or belongs to no API.
func (o Operation) DeclaresHeader(name string) bool {
	lower := appendLower(nil, name)
	return o.op.headers[string(lower)] || o.api.headers[string(lower)] || o.api.known.has(lower)
}

// DeclaresStatus reports whether an answer with that status is declared.
func (o Operation) DeclaresStatus(status int) bool {
	code := strconv.Itoa(status)
	return o.op.statuses[code] || o.op.statuses["DEFAULT"] || o.op.statuses[code[:1]+"XX"] || len(o.op.statuses) == 0 || status == http.StatusNotModified
}

// DeclaresField reports whether a field of a body is declared, as a reason of FieldCode names it.
func (o Operation) DeclaresField(media, path string) bool {
	if o.op.body == nil {
		return false
	}
	m := o.op.body.find(baseType(media))
	if m == nil {
		return false
	}
	s := survey{looks: maxLooks}
	s.describe(m.node, 0)
	from := 0
	for depth, name := range strings.Split(strings.TrimPrefix(path, "/"), "/") {
		to := len(s.nodes)
		declared := false
		switch {
		case depth > 0 && !s.named(from) && name != "[]":
			return true // free
		case name == "[]":
			for _, n := range s.nodes[from:to] {
				s.describe(n.items, 0)
				for _, p := range n.prefix {
					s.describe(p, 0)
				}
			}
			declared = true
		default:
			for _, n := range s.nodes[from:to] {
				declared = s.declares(n, []byte(name)) || declared
			}
		}
		if !declared {
			return false
		}
		if from = to; len(s.nodes) == to {
			return true // any value may stand there
		}
	}
	return true
}
