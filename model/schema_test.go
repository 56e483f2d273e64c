package model

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/rogpeppe/go-internal/txtar"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// comments returns the comment of every field ("Fleet.Version") and type ("Fleet") of the model's types.
func comments(t *testing.T) map[string]string {
	t.Helper()
	out := make(map[string]string)
	for _, name := range []string{"types.go", "types_mesh.go", "types_control.go", "types_intake.go", "types_export.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		typeComments(file, out)
	}
	return out
}

func typeComments(file *ast.File, out map[string]string) {
	for _, decl := range file.Decls {
		general, ok := decl.(*ast.GenDecl)
		if !ok || general.Tok != token.TYPE {
			continue
		}
		for _, spec := range general.Specs {
			named, ok := spec.(*ast.TypeSpec)
			if !ok {
				continue
			}
			out[named.Name.Name] = sentence(general.Doc.Text())
			fields, ok := named.Type.(*ast.StructType)
			if !ok {
				continue
			}
			for _, f := range fields.Fields.List {
				for _, name := range f.Names {
					out[named.Name.Name+"."+name.Name] = sentence(f.Comment.Text())
				}
			}
		}
	}
}

func sentence(text string) string { return strings.Join(strings.Fields(text), " ") }

// generator turns the types into a schema.
type generator struct {
	comments map[string]string
	defs     map[string]any
}

func (g *generator) schemaOf(t reflect.Type, r rules) map[string]any {
	if t.Kind() == reflect.Pointer {
		return g.schemaOf(t.Elem(), r)
	}
	switch t {
	case reflect.TypeFor[Duration]():
		return map[string]any{"type": "string", "pattern": `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$|^0$`}
	case reflect.TypeFor[Size]():
		return map[string]any{"type": []string{"string", "integer"}, "pattern": `^[0-9]+ *(B|KiB|MiB|GiB)?$`, "minimum": 0}
	case reflect.TypeFor[Rate]():
		return map[string]any{"type": "string", "pattern": `^ *[1-9][0-9]* */ *[0-9.]*(ns|us|µs|ms|s|m|h)`}
	case reflect.TypeFor[Prefix]():
		return map[string]any{"type": "string", "pattern": `^[0-9a-fA-F:.]+(/[0-9]{1,3})?$`}
	}
	out := map[string]any{}
	switch t.Kind() {
	case reflect.Struct:
		g.define(t)
		ref := map[string]any{"$ref": "#/$defs/" + t.Name()}
		if t == reflect.TypeFor[Value]() {
			return map[string]any{"anyOf": []any{ref, map[string]any{"type": []string{"string", "number", "boolean"}}}}
		}
		return ref
	case reflect.Map:
		out["type"], out["additionalProperties"] = "object", g.schemaOf(t.Elem(), r)
	case reflect.Slice:
		out["type"], out["items"] = "array", g.schemaOf(t.Elem(), r)
	case reflect.String:
		out["type"] = "string"
		if r.enum != nil {
			out["enum"] = r.enum
		}
	case reflect.Bool:
		out["type"] = "boolean"
	case reflect.Int, reflect.Float64:
		out["type"] = "integer"
		if t.Kind() == reflect.Float64 {
			out["type"] = "number"
		}
		if r.enum != nil {
			out["const"], _ = strconv.Atoi(r.enum[0])
		}
		if low, high, ok := strings.Cut(r.span, ".."); ok {
			_ = low // zero always means the default
			out["minimum"], out["maximum"] = 0, json.Number(high)
		}
	default:
		panic("no schema for " + t.String())
	}
	return out
}

func (g *generator) define(t reflect.Type) {
	if _, done := g.defs[t.Name()]; done {
		return
	}
	g.defs[t.Name()] = nil
	properties, required := map[string]any{}, []string{}
	for f := range t.Fields() {
		name, must := keyOf(f)
		if name == "" {
			continue
		}
		p := g.schemaOf(f.Type, rulesOf(f))
		if text := g.comments[t.Name()+"."+f.Name]; text != "" {
			p["description"] = text
		}
		properties[name] = p
		if must {
			required = append(required, name)
		}
	}
	def := map[string]any{"type": "object", "description": g.comments[t.Name()], "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		def["required"] = required
	}
	g.defs[t.Name()] = def
}

func generate(t *testing.T) []byte {
	t.Helper()
	g := &generator{comments: comments(t), defs: map[string]any{}}
	g.define(reflect.TypeFor[Fleet]())
	out, err := json.MarshalIndent(map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema",
		"title":   "palisade.yaml",
		"$ref":    "#/$defs/Fleet",
		"$defs":   g.defs,
	}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(out, '\n')
}

// TestSchema keeps the schema and its copy for readers current.
func TestSchema(t *testing.T) {
	golden(t, generate(t), "palisade.schema.json", filepath.Join("..", "docs", "palisade.schema.json"))
}

func golden(t *testing.T, got []byte, files ...string) {
	t.Helper()
	for _, file := range files {
		want, err := os.ReadFile(file)
		if err == nil && bytes.Equal(got, want) {
			continue
		}
		if !*update {
			t.Errorf("%s is out of date; run with -update", file)
			continue
		}
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("palisade.json", document); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("palisade.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestSchemaAgrees shows that the schema accepts what Load accepts and knows the plain mistakes.
func TestSchemaAgrees(t *testing.T) {
	s := compiled(t)
	small, err := txtar.ParseFile("testdata/compile/small.txtar")
	if err != nil {
		t.Fatal(err)
	}
	base, err := os.ReadFile("testdata/base.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for text, ok := range map[string]bool{
		string(base):                true,
		string(small.Files[0].Data): true,
		string(base) + "waf: {mode: block, paranoia: 2, body: 1MiB}\n":                         true,
		string(base) + "telemetry: {otlp: x, headers: {A: b, C: {from_env: D}, E: 1}}\n":       true,
		string(base) + "waf: {mode: no}\n":                                                     false,
		string(base) + "waf: {paranoia: 5}\n":                                                  false,
		string(base) + "wafs: {}\n":                                                            false,
		string(base) + "audit: {keep: lots}\n":                                                 false,
		"version: 2\n" + strings.TrimPrefix(string(base), "version: 1\n"):                      false,
		strings.Replace(string(base), "trust_domain: shop.example\n", "", 1):                   false,
		strings.Replace(string(base), "address: http://127.0.0.1:7001", "addr: http://x:1", 1): false,
	} {
		var value any
		if err := yaml.Unmarshal([]byte(text), &value); err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(instance); (err == nil) != ok {
			t.Errorf("the schema says %v about\n%s", err, text)
		}
	}
}

// TestReference keeps the table of keys in docs/model.md current.
func TestReference(t *testing.T) {
	const begin, end = "<!-- keys: made by go test ./model -update -->\n", "<!-- /keys -->\n"
	file := filepath.Join("..", "docs", "model.md")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	_, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no place for the keys", file)
	}
	golden(t, []byte(before+begin+reference(t)+end+after), file)
}

// reference lists the keys of every type, in the order of their appearance.
func reference(t *testing.T) string {
	t.Helper()
	words := comments(t)
	var out strings.Builder
	pending, seen := []reflect.Type{reflect.TypeFor[Fleet]()}, map[reflect.Type]bool{}
	for len(pending) > 0 {
		at := pending[0]
		pending = pending[1:]
		if seen[at] {
			continue
		}
		seen[at] = true
		fmt.Fprintf(&out, "\n### %s\n\n%s\n\n| key | type | |\n|---|---|---|\n", at.Name(), words[at.Name()])
		for f := range at.Fields() {
			name, must := keyOf(f)
			if name == "" {
				continue
			}
			kind, inner := typeName(f.Type)
			if inner != nil {
				pending = append(pending, inner)
			}
			text := strings.ReplaceAll(words[at.Name()+"."+f.Name], "|", `\|`)
			if must {
				text = strings.TrimSpace("**required** " + text)
			}
			fmt.Fprintf(&out, "| `%s` | %s | %s |\n", name, kind, text)
		}
	}
	out.WriteString("\n")
	return out.String()
}

func typeName(t reflect.Type) (name string, inner reflect.Type) {
	switch t {
	case reflect.TypeFor[Duration](), reflect.TypeFor[Size](), reflect.TypeFor[Rate]():
		return strings.ToLower(t.Name()), nil
	case reflect.TypeFor[Prefix]():
		return "address range", nil
	}
	switch t.Kind() {
	case reflect.Pointer:
		return typeName(t.Elem())
	case reflect.Slice:
		name, inner = typeName(t.Elem())
		return "list of " + name, inner
	case reflect.Map:
		name, inner = typeName(t.Elem())
		return "name: " + name, inner
	case reflect.Struct:
		return "[" + t.Name() + "](#" + strings.ToLower(t.Name()) + ")", t
	case reflect.String:
		return "text", nil
	case reflect.Bool:
		return "true/false", nil
	default:
		return "number", nil
	}
}
