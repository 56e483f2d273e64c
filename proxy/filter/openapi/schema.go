package openapi

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"

	"github.com/getkin/kin-openapi/openapi3"
)

// types is a set of JSON types. The empty set means any.
type types uint8

const (
	typeNull types = 1 << iota
	typeBool
	typeInteger
	typeNumber
	typeString
	typeArray
	typeObject
)

// typeNames are in the order of the bits.
func typeNames() [7]string {
	return [...]string{"null", "boolean", "integer", "number", "string", "array", "object"}
}

// String names the types for a message.
func (t types) String() string {
	out := ""
	for i, name := range typeNames() {
		if t&(1<<i) == 0 {
			continue
		}
		if out != "" {
			out += " or "
		}
		out += name
	}
	return out
}

// node is one compiled schema. A nil sub-schema accepts everything.
type node struct {
	never    bool // the schema false
	nullable bool // OpenAPI 3.0: null is accepted whatever else stands here
	readOnly bool // must not be sent
	types    types
	enums    []enumeration

	minimum, maximum, above, below *float64
	multiple                       *multiple

	minLength uint64
	maxLength *uint64
	pattern   *regexp.Regexp
	format    *format

	prefix              []*node
	items               *node
	minItems            uint64
	maxItems            *uint64
	unique              bool
	contains            *node
	minContains         uint64
	maxContains         *uint64
	unevaluatedItems    *node
	properties          map[string]*node
	required            []string
	patterns            []patternNode
	additional          *node
	minProps            uint64
	maxProps            *uint64
	names               *node
	dependent           map[string][]string
	dependentSchemas    map[string]*node
	unevaluated         *node
	allOf, anyOf, oneOf []*node
	discriminator       *discriminator
	not, cond           *node
	then, otherwise     *node
}

type patternNode struct {
	re   *regexp.Regexp
	node *node
}

// discriminator picks one schema of oneOf or anyOf by a property's value.
type discriminator struct {
	property string
	choices  map[string]*node
}

// enumeration is the values of enum or const.
type enumeration struct {
	texts  map[string]struct{} // the strings
	values []*document         // the rest
}

// compiler turns the library's schemas into nodes, each once, so that recursive schemas end.
type compiler struct {
	modern bool // OpenAPI 3.1 or later
	done   map[*openapi3.Schema]*node
	origin *openapi3.Origin // of the schema being compiled, for messages
	report func(origin *openapi3.Origin, code, text, hint string)
}

func newCompiler(modern bool, report func(*openapi3.Origin, string, string, string)) *compiler {
	return &compiler{modern: modern, done: make(map[*openapi3.Schema]*node), report: report}
}

// ref compiles a schema or returns nil, which accepts everything, if there is none.
func (c *compiler) ref(r *openapi3.SchemaRef) *node {
	if r == nil || r.Value == nil {
		return nil
	}
	return c.schema(r.Value)
}

func (c *compiler) refs(list openapi3.SchemaRefs) []*node {
	var out []*node
	for _, r := range list {
		out = append(out, c.ref(r))
	}
	return out
}

func (c *compiler) named(m openapi3.Schemas) map[string]*node {
	if len(m) == 0 {
		return nil
	}
	out := make(map[string]*node, len(m))
	for name, r := range m {
		out[name] = c.ref(r)
	}
	return out
}

// boolean compiles a keyword whose value is a schema or true or false.
func (c *compiler) boolean(b openapi3.BoolSchema) *node {
	if b.Has != nil {
		if *b.Has {
			return &node{}
		}
		return &node{never: true}
	}
	return c.ref(b.Schema)
}

func (c *compiler) schema(s *openapi3.Schema) *node {
	if n := c.done[s]; n != nil {
		return n
	}
	n := &node{}
	c.done[s] = n
	if s.Always != nil {
		n.never = !*s.Always
		return n
	}
	defer func(o *openapi3.Origin) { c.origin = o }(c.origin)
	c.origin = s.Origin
	for _, name := range s.Type.Slice() {
		n.types |= typeOf(name)
	}
	n.nullable = s.Nullable && !c.modern
	n.readOnly = readOnly(s, 0)
	if len(s.Enum) > 0 {
		n.enums = append(n.enums, c.enumeration(s.Enum))
	}
	if s.Const != nil {
		n.enums = append(n.enums, c.enumeration([]any{s.Const}))
	}
	c.unsupported(s)
	c.numeric(n, s)
	c.text(n, s)
	c.array(n, s)
	c.object(n, s)
	c.combined(n, s)
	return n
}

func typeOf(name string) types {
	names := typeNames()
	if i := slices.Index(names[:], name); i >= 0 {
		return 1 << i
	}
	return 0
}

// unsupported reports keywords that cannot be honoured: an unknown constraint must not pass in silence.
func (c *compiler) unsupported(s *openapi3.Schema) {
	for keyword, set := range map[string]bool{
		"$dynamicRef": s.DynamicRef != "", "$dynamicAnchor": s.DynamicAnchor != "", "$anchor": s.Anchor != "",
		"$id": s.SchemaID != "",
	} {
		if set {
			c.report(s.Origin, "unsupported-keyword", fmt.Sprintf("the schema keyword %s is not supported", keyword), "name the schema under components and use $ref")
		}
	}
}

func (c *compiler) numeric(n *node, s *openapi3.Schema) {
	n.minimum, n.maximum = s.Min, s.Max
	n.above, n.below = s.ExclusiveMin.Value, s.ExclusiveMax.Value
	if b := s.ExclusiveMin.Bool; b != nil && *b {
		n.above, n.minimum = s.Min, nil
	}
	if b := s.ExclusiveMax.Bool; b != nil && *b {
		n.below, n.maximum = s.Max, nil
	}
	if s.MultipleOf != nil && *s.MultipleOf > 0 {
		n.multiple = newMultiple(*s.MultipleOf)
	}
}

func (c *compiler) text(n *node, s *openapi3.Schema) {
	n.minLength, n.maxLength = s.MinLength, s.MaxLength
	n.format = formatOf(s.Format)
	if s.Pattern != "" {
		n.pattern = c.regexp(s.Pattern)
	}
}

// regexp compiles a pattern of ECMA-262 as RE2, or reports that it cannot.
func (c *compiler) regexp(pattern string) *regexp.Regexp {
	re, err := compilePattern(pattern)
	if err != nil {
		c.report(c.origin, "unsupported-pattern", fmt.Sprintf("the pattern %q is not in the syntax of RE2: %v", pattern, err),
			"write it without lookaround and back references")
	}
	return re
}

func (c *compiler) array(n *node, s *openapi3.Schema) {
	n.prefix, n.items = c.refs(s.PrefixItems), c.ref(s.Items)
	n.minItems, n.maxItems, n.unique = s.MinItems, s.MaxItems, s.UniqueItems
	n.contains, n.minContains, n.maxContains = c.ref(s.Contains), 1, s.MaxContains
	if s.MinContains != nil {
		n.minContains = *s.MinContains
	}
	n.unevaluatedItems = c.boolean(s.UnevaluatedItems)
}

func (c *compiler) object(n *node, s *openapi3.Schema) {
	n.properties, n.additional = c.named(s.Properties), c.boolean(s.AdditionalProperties)
	n.minProps, n.maxProps = s.MinProps, s.MaxProps
	n.names, n.dependent = c.ref(s.PropertyNames), s.DependentRequired
	n.dependentSchemas, n.unevaluated = c.named(s.DependentSchemas), c.boolean(s.UnevaluatedProperties)
	for pattern, r := range s.PatternProperties {
		if re := c.regexp(pattern); re != nil {
			n.patterns = append(n.patterns, patternNode{re, c.ref(r)})
		}
	}
	// A request need not send what it must not send.
	for _, name := range s.Required {
		if !readOnlyProperty(s, name, 0) {
			n.required = append(n.required, name)
		}
	}
}

func (c *compiler) combined(n *node, s *openapi3.Schema) {
	n.allOf, n.anyOf, n.oneOf = c.refs(s.AllOf), c.refs(s.AnyOf), c.refs(s.OneOf)
	n.not, n.cond, n.then, n.otherwise = c.ref(s.Not), c.ref(s.If), c.ref(s.Then), c.ref(s.Else)
	if d := s.Discriminator; d != nil && len(s.OneOf)+len(s.AnyOf) > 0 {
		n.discriminator = c.discriminator(d, slices.Concat(s.OneOf, s.AnyOf))
	}
}

// discriminator maps values to the alternatives by their $ref, and by the last part of it (OpenAPI 3.0.3,
// section 4.7.25). An alternative without $ref cannot be named, so its union is then judged without.
func (c *compiler) discriminator(d *openapi3.Discriminator, alternatives openapi3.SchemaRefs) *discriminator {
	out := &discriminator{property: d.PropertyName, choices: make(map[string]*node)}
	byRef := make(map[string]*node)
	for _, r := range alternatives {
		if r == nil || r.Ref == "" {
			return nil
		}
		byRef[r.Ref] = c.ref(r)
		if len(r.Ref) > len(componentPrefix) {
			out.choices[r.Ref[len(componentPrefix):]] = c.ref(r)
		}
	}
	for value, ref := range d.Mapping {
		target := byRef[ref.Ref]
		if target == nil {
			target = byRef[componentPrefix+ref.Ref]
		}
		if target != nil {
			out.choices[value] = target
		}
	}
	return out
}

const componentPrefix = "#/components/schemas/"

// enumeration scans the values once.
func (c *compiler) enumeration(values []any) enumeration {
	e := enumeration{texts: make(map[string]struct{})}
	for _, v := range values {
		if s, ok := v.(string); ok {
			e.texts[s] = struct{}{}
			continue
		}
		b, err := json.Marshal(v)
		d := new(document)
		if err != nil || d.scan(b, bounds{math.MaxInt, math.MaxInt, math.MaxInt, math.MaxInt}) != nil {
			c.report(c.origin, "unsupported-value", "a value of enum or const is not JSON", "")
			continue
		}
		e.values = append(e.values, d)
	}
	return e
}

// maxAllOf bounds how deep readOnly is looked for in chains of allOf.
const maxAllOf = 16

func readOnly(s *openapi3.Schema, depth int) bool {
	if s.ReadOnly {
		return true
	}
	return depth < maxAllOf && slices.ContainsFunc(s.AllOf, func(r *openapi3.SchemaRef) bool {
		return r != nil && r.Value != nil && readOnly(r.Value, depth+1)
	})
}

// readOnlyProperty reports whether s, or a schema it is composed of, declares the property as read-only.
func readOnlyProperty(s *openapi3.Schema, name string, depth int) bool {
	if p := s.Properties[name]; p != nil && p.Value != nil && readOnly(p.Value, 0) {
		return true
	}
	return depth < maxAllOf && slices.ContainsFunc(s.AllOf, func(r *openapi3.SchemaRef) bool {
		return r != nil && r.Value != nil && readOnlyProperty(r.Value, name, depth+1)
	})
}

// number writes a bound as a document's author would.
func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
