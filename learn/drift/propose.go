package drift

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/palisade-security/palisade/internal/ident"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy/filter/openapi"
)

// Proposal is a document with what it does not declare.
type Proposal struct {
	Service string
	Edited  model.Edited
	added   []addition
}

// mostRounds bounds how often a document is looked at again: what two operations share is added to for the one, then for the other.
const mostRounds = 4

// seenInTraffic describes an answer; OpenAPI wants a description.
const seenInTraffic = "seen in traffic"

// Propose adds what is proposed to the documents, and holds that they are valid then, and declare it. What cannot be added as the
// document is written is no longer proposed, and r says why.
func (v *Evidence) Propose(r *Report) ([]Proposal, error) {
	var out []Proposal
	for _, s := range v.services {
		var open []*Undocumented
		for i := range r.Undocumented {
			if u := &r.Undocumented[i]; u.Service == s.Name && u.Proposed {
				open = append(open, u)
			}
		}
		p, err := s.propose(open)
		if err != nil {
			return nil, fmt.Errorf("proposing a patch to %s: %w", s.APIFile, err)
		}
		if len(p.added) > 0 {
			out = append(out, *p)
		}
	}
	return out, nil
}

func (s *service) propose(open []*Undocumented) (*Proposal, error) {
	p := &Proposal{Service: s.Name, Edited: model.Edited{File: s.APIFile, Before: s.API, After: s.API}}
	for range mostRounds {
		d, err := readDocument(p.Edited.After)
		if err != nil {
			return nil, err
		}
		d.declare(open)
		after, added := insert(p.Edited.After, d.additions())
		p.added = append(p.added, added...)
		p.Edited.After = after
		with := s.ResolvedService
		with.API = after
		api, findings := openapi.Compile(with)
		if api == nil {
			return nil, errors.New("it would not be valid: " + findings[0].Text)
		}
		open = slices.DeleteFunc(open, func(u *Undocumented) bool { return u.declaredIn(api) })
		if len(open) == 0 || len(added) == 0 {
			break
		}
	}
	for _, u := range open {
		u.Proposed, u.Why = false, "the document is written in a way that is not edited; declare it by hand"
	}
	return p, nil
}

// insert adds what can be added: all of it or, if something cannot, each that can by itself.
func insert(text []byte, all []addition) (after []byte, added []addition) {
	plain := make([]model.Addition, len(all))
	for i := range all {
		plain[i] = all[i].Addition
	}
	if after, err := model.Insert(text, plain); err == nil {
		return after, all
	}
	for i := range all {
		if next, err := model.Insert(text, plain[i:i+1]); err == nil {
			text, added = next, append(added, all[i])
		}
	}
	return text, added
}

// declare adds what declares all that is undocumented. Fields of a body go in together: what lies within others is declared there.
func (d *document) declare(all []*Undocumented) {
	bodies := map[*operation]map[string]tallies{}
	for _, u := range all {
		item, _ := d.follow("paths", u.Path)
		if u.Kind == Endpoint {
			d.endpoint(item, u)
			continue
		}
		at, op := d.follow(below(item, strings.ToLower(u.Method))...)
		switch {
		case op == nil:
		case u.Kind == Parameter:
			d.push(below(at, "parameters"), parameterOf("query", u.Name, u.op.query[u.Name].kinds, d.modern))
		case u.Kind == Header:
			d.push(below(at, "parameters"), parameterOf("header", u.Name, kindString, d.modern))
		case u.Kind == Status:
			d.set(below(at, "responses", u.Name), model.Object{{Key: "description", Value: seenInTraffic}})
		default:
			if bodies[u.op] == nil {
				bodies[u.op] = map[string]tallies{}
			}
			if bodies[u.op][u.Media] == nil {
				bodies[u.op][u.Media] = tallies{}
			}
			bodies[u.op][u.Media][u.Name] = u.op.fields[u.Media][u.Name]
		}
	}
	for _, u := range all { // in their order
		fields := bodies[u.op][u.Media]
		if u.Kind != Field || fields == nil {
			continue
		}
		delete(bodies[u.op], u.Media)
		item, _ := d.follow("paths", u.Path)
		at, _ := d.follow(below(item, strings.ToLower(u.Method))...)
		d.body(at, u.Media, shapeOf(fields))
	}
}

func parameterOf(in, name string, k kinds, modern bool) model.Object {
	o := model.Object{{Key: "name", Value: name}, {Key: "in", Value: in}}
	if in == "path" {
		o = append(o, model.Member{Key: "required", Value: true})
	}
	if k = k.least(); len(k.names()) != 1 {
		k = kindString // as it is written
	}
	return append(o, model.Member{Key: "schema", Value: typed(k, modern)})
}

// endpoint adds a method, and its path if that is new.
func (d *document) endpoint(item []string, u *Undocumented) {
	o := u.op
	at := below(item, strings.ToLower(u.Method))
	if d.at(item) == nil {
		for _, p := range u.params {
			if !slices.ContainsFunc(d.place(below(item, "parameters")).list, func(v any) bool {
				have, ok := v.(model.Object)
				return ok && have[0].Value == p.name
			}) {
				d.push(below(item, "parameters"), parameterOf("path", p.name, p.kinds, d.modern))
			}
		}
		if len(u.params) == 0 {
			d.place(item)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o.query)) {
		d.push(below(at, "parameters"), parameterOf("query", name, o.query[name].kinds, d.modern))
	}
	for _, media := range slices.Sorted(maps.Keys(o.fields)) {
		d.set(below(at, "requestBody", "content", media, "schema"), shapeOf(o.fields[media]).schema(d.modern))
	}
	for _, status := range slices.Sorted(maps.Keys(o.statuses)) {
		d.set(below(at, "responses", status), model.Object{{Key: "description", Value: seenInTraffic}})
	}
}

// body adds fields to the schema of a body.
func (d *document) body(op []string, media string, s *shape) {
	at, request := d.follow(below(op, "requestBody")...)
	if request == nil {
		if d.at(at) == nil {
			d.fresh(below(at, "content", media, "schema"), s)
		}
		return
	}
	content, declared := d.follow(below(at, "content")...)
	name, found := mediaName(declared, media)
	if !found {
		d.fresh(below(content, media, "schema"), s)
		return
	}
	if d.at(below(content, name, "schema")) == nil {
		d.fresh(below(content, name, "schema"), s)
		return
	}
	d.fields(below(content, name, "schema"), s, 0)
}

// mediaName is under which name a body of a media type is declared: it, or a range that holds it.
func mediaName(content map[string]any, media string) (string, bool) {
	for _, wanted := range []string{media, media[:strings.IndexByte(media+"/", '/')] + "/*", "*/*"} {
		for _, name := range slices.Sorted(maps.Keys(content)) {
			base, _, _ := strings.Cut(name, ";")
			if strings.EqualFold(strings.TrimSpace(base), wanted) {
				return name, true
			}
		}
	}
	return "", false
}

// fresh declares a shape where no schema is, one part at a time: other fields go to the same place.
func (d *document) fresh(path []string, s *shape) {
	k := s.types()
	if len(s.below) == 0 || k != kindObject && k != kindArray {
		d.set(path, s.schema(d.modern))
		return
	}
	d.set(below(path, "type"), k.names()[0])
	for _, name := range slices.Sorted(maps.Keys(s.below)) {
		switch name {
		case "[]":
			d.fresh(below(path, "items"), s.below[name])
		case "*":
			d.set(below(path, "additionalProperties"), true)
		default:
			d.fresh(below(path, "properties", name), s.below[name])
		}
	}
}

// maxComposed bounds how deep schemas are looked through.
const maxComposed = 16

// fields adds to a schema what it does not have of a shape.
func (d *document) fields(path []string, s *shape, depth int) {
	path, schema := d.follow(path...)
	if schema == nil || depth > maxComposed {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(s.below)) {
		if next := d.find(path, name, 0); next != nil {
			d.fields(next, s.below[name], depth+1)
			continue
		}
		to := d.holder(path, 0)
		switch {
		case to == nil:
		case name == "[]":
			d.fresh(below(to, "items"), s.below[name])
		case ident.Name(name):
			d.fresh(below(to, "properties", name), s.below[name])
		}
	}
}

// find is where the schema of a property, or of items, stands; nil: nowhere.
func (d *document) find(path []string, name string, depth int) []string {
	path, schema := d.follow(path...)
	if schema == nil || depth > maxComposed {
		return nil
	}
	way := [][]string{{"properties", name}, {"additionalProperties"}}
	if name == "[]" {
		way = [][]string{{"items"}}
	}
	for _, w := range way {
		if _, found := d.at(below(path, w...)).(map[string]any); found {
			return below(path, w...)
		}
	}
	for _, all := range d.each(path, "allOf") {
		if found := d.find(all, name, depth+1); found != nil {
			return found
		}
	}
	return nil
}

// holder is the schema to which properties are added: the first that has some, of it and of all that it is made of, its own parts before
// what others share. Nil: it has alternatives, and nobody knows which is meant.
func (d *document) holder(path []string, depth int) []string {
	path, schema := d.follow(path...)
	if schema == nil || depth > maxComposed {
		return nil
	}
	if schema["properties"] != nil {
		return path
	}
	var shared []string
	for _, all := range d.each(path, "allOf") {
		to := d.holder(all, depth+1)
		switch {
		case to == nil || d.at(below(to, "properties")) == nil:
		case len(to) > len(path) && slices.Equal(to[:len(path)], path):
			return to
		case shared == nil:
			shared = to
		}
	}
	if shared != nil {
		return shared
	}
	if schema["oneOf"] != nil || schema["anyOf"] != nil {
		return nil
	}
	return path
}

// each is the places of the schemas in a list.
func (d *document) each(path []string, key string) (out [][]string) {
	list, ok := d.at(below(path, key)).([]any)
	for i := range list {
		out = append(out, below(path, key, fmt.Sprint(i)))
	}
	if !ok {
		return nil
	}
	return out
}
