package model

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// served is one entry of serve with what its comparison with others needs.
type served struct {
	Serve
	key      string
	template Template
	callers  []string // resolved
	methods  []string // resolved
}

// serve checks what callers of a service may ask, each entry by itself and all against each other.
func (c *checker) serve(key, name string, s Service) {
	if len(s.Serve) == 0 {
		return
	}
	all := c.Fleet.callersOf(name)
	if len(all) == 0 {
		c.fail("no-callers", key+".serve", "expected who may ask, found nobody", "name services in callers, of the service or of each path")
	}
	var entries []served
	for i, e := range s.Serve {
		at := index(key+".serve", i)
		c.servePath(at, name, s, e)
		if template, err := ParseTemplate(e.Path); err == nil {
			entries = append(entries, served{e, at, template, orList(sorted(e.Callers), all), serveMethods(e)})
		}
	}
	for i := range entries {
		for j := range i {
			c.serveBoth(entries, entries[j], entries[i])
		}
		c.serveShadow(entries, entries[i])
	}
}

// orList returns list, or otherwise where list is empty.
func orList(list, otherwise []string) []string {
	if len(list) > 0 {
		return list
	}
	return otherwise
}

// serveMethods are the methods of an entry that names none: all that a route can have.
func serveMethods(e Serve) []string {
	return orList(sorted(e.Methods), sorted(append(StandardMethods(), "OPTIONS")))
}

func (c *checker) servePath(key, service string, s Service, e Serve) {
	if e.Path != "" {
		if _, err := ParseTemplate(e.Path); err != nil {
			c.fail("bad-path", key+".path", err.Error(), "")
		}
	}
	c.callers(key+".callers", service, e.Callers)
	for i, caller := range e.Callers {
		at := index(key+".callers", i)
		if _, declared := c.Fleet.Services[caller]; declared && len(s.Callers) > 0 && !slices.Contains(s.Callers, caller) {
			c.fail("not-a-caller", at, quote(caller)+" is not among the callers of the service", "add it to callers, or remove it here")
		}
	}
	for i, g := range e.Users {
		at := index(key+".users", i)
		if g.Anyone {
			c.fail("grant-contradiction", at, "users asks for an end user, and anyone does not", "remove users where none is needed")
			continue
		}
		c.grant(at, Route{Methods: e.Methods}, g)
	}
	for i, l := range e.Limits {
		if l.Per == "address" {
			c.fail("bad-limit", index(key+".limits", i)+".per", "between services an address tells nobody apart", "write service, route or user")
		}
	}
	c.limits(key+".limits", e.Limits)
	if e.WAF != nil {
		c.inspection(key+".waf", *e.WAF)
	}
	c.span(key+".timeout", e.Timeout, longRoute)
	c.size(key+".body", e.Body, 16, 16<<30)
	if e.Validate != nil && !e.Validate.Off && s.API == "" {
		c.warn("no-effect", key+".validate", "the service has no API document to validate against", "add api to the service")
	}
}

// serveBoth compares two entries that may match the same request. One that covers the other is what a more
// specific path is for; any other meeting hides who may ask.
func (c *checker) serveBoth(all []served, a, b served) {
	if a.template.Shape() == b.template.Shape() {
		common := slices.DeleteFunc(slices.Clone(b.methods), func(m string) bool { return !slices.Contains(a.methods, m) })
		if len(common) > 0 {
			c.collide("serve-conflict", b.key, a.key, fmt.Sprintf("%s is also served by %s for %s", b.Path, a.key, strings.Join(common, ", ")), "make one entry of both, or give each its own path or methods")
		}
		return
	}
	if a.template.Covers(b.template) || b.template.Covers(a.template) {
		return
	}
	both, ok := a.template.Meet(b.template)
	if !ok || sameLeave(a, b) || slices.ContainsFunc(all, func(e served) bool { return e.template.Shape() == both.Shape() }) {
		return
	}
	c.collide("serve-overlap", b.key, a.key, fmt.Sprintf("%s is matched by this and by %s, which let others ask", both, a.key), "serve "+both.String()+" by an entry of its own")
}

// sameLeave tells whether two entries let the same services ask for the same users.
func sameLeave(a, b served) bool {
	return slices.Equal(a.callers, b.callers) && slices.Equal(a.methods, b.methods) && reflect.DeepEqual(a.Users, b.Users)
}

// serveShadow looks at what an entry takes from the next wider one: a method that a caller has there and lacks
// here is most likely forgotten, and an entry that changes nothing is one too many.
func (c *checker) serveShadow(all []served, e served) {
	wider := -1
	var methods []string // of all entries of this path
	for i, o := range all {
		if o.template.Shape() == e.template.Shape() {
			methods = append(methods, o.methods...)
			continue
		}
		if o.template.Covers(e.template) && (wider < 0 || all[wider].template.Covers(o.template)) {
			wider = i
		}
	}
	if wider < 0 {
		return
	}
	w := all[wider]
	// Where others meet here with w, this entry decides between them.
	between := slices.ContainsFunc(all, func(o served) bool {
		return o.template.Covers(e.template) && !e.template.Covers(o.template) && !o.template.Covers(w.template) && !sameLeave(o, w)
	})
	plain := e.Serve
	plain.Path, plain.Methods, plain.Callers, plain.Users = "", nil, nil, nil
	if !between && sameLeave(e, w) && reflect.DeepEqual(plain, Serve{}) {
		c.warn("no-effect", e.key, "this says what "+w.key+" says already", "remove it")
		return
	}
	if !slices.ContainsFunc(e.callers, func(n string) bool { return slices.Contains(w.callers, n) }) {
		return
	}
	lost := slices.DeleteFunc(slices.Clone(w.methods), func(m string) bool { return slices.Contains(methods, m) })
	if len(lost) > 0 {
		c.found = append(c.found, Finding{
			Severity: Warning, Code: "serve-shadow", Position: c.at(e.key), Key: e.key, Other: c.at(w.key),
			Text: fmt.Sprintf("%s permits %s too, and this more specific path takes it away", w.key, strings.Join(lost, ", ")),
			Hint: "name all methods of the path here, or leave methods out in both",
		})
	}
}
