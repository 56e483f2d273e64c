package model

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// place is where a key and its value stand.
type place struct{ Key, Value Position }

// decoder fills one Fleet from the syntax trees of several files and remembers where everything stands. It goes
// on after a mistake, so that all are found at once.
type decoder struct {
	file     string
	places   map[string]place // by key path
	broken   bool             // some file could not be read as keys
	findings []Finding
}

func (d *decoder) report(code string, p Position, key, text, hint string) {
	d.add(Finding{Severity: Error, Code: code, Position: p, Key: key, Text: text, Hint: hint})
}

func (d *decoder) add(f Finding) {
	if len(d.findings) <= maxFindings { // one more than settle leaves, so that it sees that there are more
		d.findings = append(d.findings, f)
	}
}

// rules are the constraints that stand in a field's tags; they bind each element of a list or map.
type rules struct {
	enum []string // allowed values
	span string   // low..high for numbers; zero always means the default
}

func rulesOf(f reflect.StructField) rules {
	r := rules{span: f.Tag.Get("range")}
	if e := f.Tag.Get("enum"); e != "" {
		r.enum = strings.Split(e, ",")
	}
	return r
}

// keyOf returns the key of a field in the file ("" when it has none) and whether it must be present.
func keyOf(f reflect.StructField) (name string, required bool) {
	name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	if name == "-" {
		return "", false
	}
	return name, !strings.Contains(options, "omitempty")
}

// node decodes n into v, which stands at the key path.
func (d *decoder) node(n ast.Node, v reflect.Value, path string, r rules) {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		v = v.Elem()
	}
	if _, ok := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr()); ok {
		d.text(n, v, path)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.structure(n, v, path)
	case reflect.Map:
		d.mapping(n, v, path, r)
	case reflect.Slice:
		d.sequence(n, v, path, r)
	default:
		d.scalar(n, v, path, r)
	}
}

// entries lists the pairs of a mapping once each; a second pair of the same key is reported with both places.
func (d *decoder) entries(n ast.Node, path string) (keys []string, values map[string]*ast.MappingValueNode, ok bool) {
	switch n := n.(type) {
	case *ast.NullNode:
		return nil, nil, true
	case *ast.MappingNode:
		values = make(map[string]*ast.MappingValueNode, len(n.Values))
		for _, pair := range n.Values {
			key, isText := pair.Key.(*ast.StringNode)
			at := tokenPosition(d.file, pair.Key.GetToken())
			if !isText {
				d.report("wrong-type", at, path, "expected a key that is text, found "+describe(pair.Key), "quote it")
				continue
			}
			if first, twice := values[key.Value]; twice {
				d.add(Finding{
					Severity: Error, Code: "duplicate-key", Position: at, Key: join(path, key.Value),
					Text: fmt.Sprintf("key %q stands here twice", key.Value), Hint: "keep one of them",
					Other: tokenPosition(d.file, first.Key.GetToken()),
				})
				continue
			}
			keys, values[key.Value] = append(keys, key.Value), pair
		}
		return keys, values, true
	default:
		return nil, nil, false
	}
}

func (d *decoder) structure(n ast.Node, v reflect.Value, path string) {
	if v.Type() == reflect.TypeFor[Value]() && isScalar(n) {
		// A plain scalar is short for {value: ...}.
		v.Set(reflect.ValueOf(Value{Value: scalarText(n)}))
		d.places[join(path, "value")] = d.places[path]
		d.literal(n, path, scalarText(n))
		return
	}
	keys, values, ok := d.entries(n, path)
	if !ok {
		d.report("wrong-type", positionOf(d.file, n), path, "expected keys such as "+sampleKeys(v.Type())+", found "+describe(n), "")
		return
	}
	fields := fieldsOf(v.Type())
	for _, key := range keys {
		pair, at := values[key], join(path, key)
		field, known := fields[key]
		if !known {
			d.report("unknown-key", tokenPosition(d.file, pair.Key.GetToken()), at,
				fmt.Sprintf("unknown key %q; expected one of %s", key, sampleKeys(v.Type())), didYouMean(key, keyNames(v.Type())))
			continue
		}
		target := v.FieldByIndex(field.Index)
		here := place{tokenPosition(d.file, pair.Key.GetToken()), positionOf(d.file, pair.Value)}
		if _, empty := pair.Value.(*ast.NullNode); empty {
			here.Value = here.Key
		}
		first, seen := d.places[at]
		if !seen {
			d.places[at] = here
		} else if !mergeable(target) && (key != "version" || path != "") {
			d.twice(here.Key, first.Key, at)
			continue
		}
		d.node(pair.Value, target, at, rulesOf(field))
	}
}

// mergeable tells whether several files may each say a part of v.
func mergeable(v reflect.Value) bool {
	_, text := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr())
	return !text && (v.Kind() == reflect.Struct || v.Kind() == reflect.Map || v.Kind() == reflect.Slice)
}

func (d *decoder) twice(at, first Position, path string) {
	d.add(Finding{
		Severity: Error, Code: "declared-twice", Position: at, Key: path,
		Text: "this is declared twice", Hint: "remove or rename one of them", Other: first,
	})
}

func (d *decoder) mapping(n ast.Node, v reflect.Value, path string, r rules) {
	keys, values, ok := d.entries(n, path)
	if !ok {
		d.report("wrong-type", positionOf(d.file, n), path, "expected names with what belongs to each, found "+describe(n), "write name: value")
		return
	}
	if v.IsNil() && len(keys) > 0 {
		v.Set(reflect.MakeMap(v.Type()))
	}
	for _, key := range keys {
		pair, at := values[key], join(path, key)
		here := place{tokenPosition(d.file, pair.Key.GetToken()), positionOf(d.file, pair.Value)}
		if first, seen := d.places[at]; seen {
			d.twice(here.Key, first.Key, at)
			continue
		}
		d.places[at] = here
		element := reflect.New(v.Type().Elem()).Elem()
		d.node(pair.Value, element, at, r)
		v.SetMapIndex(reflect.ValueOf(key), element)
	}
}

func (d *decoder) sequence(n ast.Node, v reflect.Value, path string, r rules) {
	var items []ast.Node
	switch n := n.(type) {
	case *ast.NullNode:
		return
	case *ast.SequenceNode:
		items = n.Values
	default:
		d.report("wrong-type", positionOf(d.file, n), path, "expected a list, found "+describe(n), "write [...] or lines that begin with -")
		return
	}
	for _, item := range items {
		at := path + "[" + strconv.Itoa(v.Len()) + "]"
		here := positionOf(d.file, item)
		d.places[at] = place{here, here}
		element := reflect.New(v.Type().Elem()).Elem()
		d.node(item, element, at, r)
		v.Set(reflect.Append(v, element))
	}
}

// text decodes a scalar into a type with a notation of its own.
func (d *decoder) text(n ast.Node, v reflect.Value, path string) {
	if !isScalar(n) {
		d.report("wrong-type", positionOf(d.file, n), path, "expected "+notation(v.Type())+", found "+describe(n), "")
		return
	}
	u, _ := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr())
	if err := u.UnmarshalText([]byte(scalarText(n))); err != nil {
		d.report("bad-value", positionOf(d.file, n), path, err.Error(), "")
	}
}

func (d *decoder) scalar(n ast.Node, v reflect.Value, path string, r rules) {
	wrong := func(want, hint string) {
		d.report("wrong-type", positionOf(d.file, n), path, "expected "+want+", found "+describe(n), hint)
	}
	switch v.Kind() { //nolint:exhaustive // the types of this package use no other kind
	case reflect.String:
		if !isText(n) {
			hint := ""
			if isScalar(n) {
				hint = fmt.Sprintf("quote it: %q", scalarText(n))
			}
			wrong("text", hint)
			return
		}
		v.SetString(scalarText(n))
		d.literal(n, path, v.String())
		d.oneOf(n, path, v.String(), r)
	case reflect.Bool:
		b, ok := n.(*ast.BoolNode)
		if !ok {
			wrong("true or false", "")
			return
		}
		v.SetBool(b.Value)
	case reflect.Int:
		i, err := strconv.ParseInt(scalarText(n), 10, 32)
		if _, number := n.(*ast.IntegerNode); !number || err != nil {
			wrong("a whole number", "")
			return
		}
		v.SetInt(i)
		d.oneOf(n, path, scalarText(n), r)
		d.within(n, path, float64(i), r)
	case reflect.Float64:
		f, err := strconv.ParseFloat(scalarText(n), 64)
		_, float := n.(*ast.FloatNode)
		if _, number := n.(*ast.IntegerNode); !number && !float || err != nil {
			wrong("a number", "")
			return
		}
		v.SetFloat(f)
		d.within(n, path, f, r)
	}
}

func (d *decoder) oneOf(n ast.Node, path, value string, r rules) {
	if slices.Contains(r.enum, value) {
		return
	}
	if len(r.enum) == 0 {
		return
	}
	expected, hint := "one of "+strings.Join(r.enum, ", "), reasonAgainst(value)
	switch {
	case len(r.enum) == 1:
		expected = r.enum[0]
	case hint == "":
		hint = didYouMean(value, r.enum)
	}
	d.report("bad-value", positionOf(d.file, n), path, fmt.Sprintf("%q is not allowed; expected %s", value, expected), hint)
}

// reasonAgainst says why a value that exists in the field is refused here.
func reasonAgainst(value string) string {
	switch strings.ToUpper(value) {
	case "HS256", "HS384", "HS512":
		return "with a shared key everyone who can verify a token can also forge one (RFC 8725, section 2.1)"
	case "NONE":
		return "a token without signature is anybody's (RFC 8725, section 3.2)"
	case "TRACE", "CONNECT":
		return "this method is never forwarded"
	}
	return ""
}

func (d *decoder) within(n ast.Node, path string, value float64, r rules) {
	low, high, ok := strings.Cut(r.span, "..")
	if !ok || value == 0 {
		return
	}
	least, _ := strconv.ParseFloat(low, 64)
	most, _ := strconv.ParseFloat(high, 64)
	if value < least || value > most {
		d.report("out-of-range", positionOf(d.file, n), path, fmt.Sprintf("%s is out of range; expected %s to %s", scalarText(n), low, high), "")
	}
}

// literal reports a secret that stands in the file as it is.
func (d *decoder) literal(n ast.Node, path, text string) {
	if kind := secretShape(text); kind != "" {
		d.add(literalSecret(positionOf(d.file, n), path, kind))
	}
}

func isText(n ast.Node) bool {
	switch n.(type) {
	case *ast.StringNode, *ast.LiteralNode:
		return true
	}
	return false
}

func isScalar(n ast.Node) bool {
	switch n.(type) {
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return true
	}
	return isText(n)
}

func scalarText(n ast.Node) string {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value
	case *ast.LiteralNode:
		return n.Value.Value
	default:
		return n.GetToken().Value
	}
}
