package drift

import (
	"maps"
	"slices"
	"strings"

	"github.com/palisade-security/palisade/model"
)

// shape is what was seen of a value: its types, and what lies within.
type shape struct {
	kinds kinds // 0: it is only on the way to others
	below map[string]*shape
}

// shapeOf joins fields by the ways to them.
func shapeOf(fields tallies) *shape {
	root := &shape{}
	for path, t := range fields {
		s := root
		for part := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
			s = s.down(part)
		}
		s.kinds |= t.kinds
	}
	return root
}

func (s *shape) down(part string) *shape {
	if s.below == nil {
		s.below = map[string]*shape{}
	}
	if s.below[part] == nil {
		s.below[part] = &shape{}
	}
	return s.below[part]
}

// types of s, also those that follow from what lies within.
func (s *shape) types() kinds {
	k := s.kinds
	for part := range s.below {
		if part == "[]" {
			k |= kindArray
		} else {
			k |= kindObject
		}
	}
	return k.least()
}

// schema is what declares s: modern for OpenAPI 3.1. What was seen of several types may be anything.
func (s *shape) schema(modern bool) model.Object {
	k := s.types()
	o := typed(k, modern)
	only := k &^ kindNull
	switch {
	case only == kindArray:
		items := model.Object{}
		if below := s.below["[]"]; below != nil {
			items = below.schema(modern)
		}
		o = append(o, model.Member{Key: "items", Value: items})
	case only == kindObject && len(s.below) > 0:
		properties := model.Object{}
		for _, name := range slices.Sorted(maps.Keys(s.below)) {
			if name != "*" {
				properties = append(properties, model.Member{Key: name, Value: s.below[name].schema(modern)})
			}
		}
		if len(properties) > 0 {
			o = append(o, model.Member{Key: "properties", Value: properties})
		}
		if s.below["*"] != nil {
			o = append(o, model.Member{Key: "additionalProperties", Value: true})
		}
	}
	return o
}

// typed is a schema of a type: modern for OpenAPI 3.1, where null is a type (3.0.3, section 4.7.24: nullable).
func typed(k kinds, modern bool) model.Object {
	names := (k &^ kindNull).names()
	if len(names) != 1 {
		return model.Object{}
	}
	o := model.Object{{Key: "type", Value: names[0]}}
	format := names[0] == "uuid"
	if format {
		o[0].Value = "string"
	}
	switch {
	case k&kindNull == 0:
	case modern:
		o[0].Value = []any{o[0].Value, "null"}
	default:
		o = append(o, model.Member{Key: "nullable", Value: true})
	}
	if format {
		o = append(o, model.Member{Key: "format", Value: "uuid"})
	}
	return o
}
