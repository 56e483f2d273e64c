package event_test

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/event"
)

// schema is what testdata/ocsf-*.json says of a class and its objects.
type schema struct {
	Version string `json:"version"`
	Class   string `json:"class"`
	Types   map[string]struct {
		Required   []string             `json:"required"`
		AtLeastOne [][]string           `json:"at_least_one"`
		Attributes map[string]string    `json:"attributes"`
		Enums      map[string][]float64 `json:"enums"`
	} `json:"types"`
}

func readSchema(t *testing.T) schema {
	t.Helper()
	b, err := os.ReadFile("testdata/ocsf-" + event.SchemaVersion + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var s schema
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	if s.Version != event.SchemaVersion {
		t.Fatalf("schema is %s, events are %s", s.Version, event.SchemaVersion)
	}
	return s
}

// check returns what is wrong with v as a value of a type of the schema.
func (s schema) check(typ, path string, v any) (wrong []string) {
	if elem, ok := strings.CutPrefix(typ, "[]"); ok {
		list, ok := v.([]any)
		if !ok {
			return []string{path + " is no list"}
		}
		for i, e := range list {
			wrong = append(wrong, s.check(elem, fmt.Sprintf("%s[%d]", path, i), e)...)
		}
		return wrong
	}
	ok := true
	switch typ {
	case "any":
	case "string":
		_, ok = v.(string)
	case "boolean":
		_, ok = v.(bool)
	case "integer":
		var n float64
		n, ok = v.(float64)
		ok = ok && n == float64(int64(n))
	default:
		return s.checkObject(typ, path, v)
	}
	if !ok {
		return []string{path + " is no " + typ}
	}
	return nil
}

func (s schema) checkObject(typ, path string, v any) (wrong []string) {
	def, known := s.Types[typ]
	obj, ok := v.(map[string]any)
	if !known || !ok {
		return []string{path + " is no " + typ}
	}
	for _, name := range def.Required {
		if _, ok := obj[name]; !ok {
			wrong = append(wrong, path+" lacks "+name)
		}
	}
	for _, names := range def.AtLeastOne {
		if !slices.ContainsFunc(names, func(n string) bool { _, ok := obj[n]; return ok }) {
			wrong = append(wrong, path+" has none of "+strings.Join(names, ", "))
		}
	}
	for name, v := range obj {
		at := path + "." + name
		attr, known := def.Attributes[name]
		if !known {
			wrong = append(wrong, at+" is not in the schema")
			continue
		}
		wrong = append(wrong, s.check(attr, at, v)...)
		if n, ok := v.(float64); ok && def.Enums[name] != nil && !slices.Contains(def.Enums[name], n) {
			wrong = append(wrong, fmt.Sprintf("%s may not be %v", at, v))
		}
	}
	return wrong
}

func TestEventsMeetSchema(t *testing.T) {
	s := readSchema(t)
	for class, all := range map[string]map[string]*event.Event{s.Class: samples(), "network_activity": connections()} {
		for name, e := range all {
			line := event.AppendJSON(nil, e)
			var v map[string]any
			if err := json.Unmarshal(line, &v); err != nil {
				t.Fatal(err)
			}
			for _, w := range s.check(class, "event", v) {
				t.Errorf("%s: %s", name, w)
			}
			if v["type_uid"] != 100*v["class_uid"].(float64)+v["activity_id"].(float64) {
				t.Errorf("%s: type_uid %v with activity_id %v", name, v["type_uid"], v["activity_id"])
			}
		}
	}
}

func TestSchemaCheckFinds(t *testing.T) {
	s := readSchema(t)
	wrong := s.check(s.Class, "event", map[string]any{"activity_id": 77.0, "http_request": map[string]any{"referer": "x"}})
	for _, w := range []string{
		"event lacks class_uid", "event has none of src_endpoint, dst_endpoint",
		"event.activity_id may not be 77", "event.http_request.referer is not in the schema",
	} {
		if !slices.Contains(wrong, w) {
			t.Errorf("not found: %s", w)
		}
	}
}

func TestVerdicts(t *testing.T) {
	for name, want := range map[string][4]any{ // action, disposition, severity, status
		"allowed":         {1.0, 1.0, 1.0, 1.0},
		"full":            {1.0, 15.0, 2.0, 0.0},
		"unauthenticated": {2.0, 26.0, 2.0, 2.0},
		"unauthorised":    {2.0, 26.0, 2.0, 2.0},
		"limited":         {2.0, 2.0, 2.0, 2.0},
		"attack":          {2.0, 2.0, 3.0, 2.0},
		"invalid":         {2.0, 25.0, 2.0, 2.0},
		"undecided":       {2.0, 27.0, 2.0, 2.0},
		"unparsed":        {2.0, 2.0, 2.0, 2.0},
	} {
		var v map[string]any
		if err := json.Unmarshal(event.AppendJSON(nil, samples()[name]), &v); err != nil {
			t.Fatal(err)
		}
		if got := [4]any{v["action_id"], v["disposition_id"], v["severity_id"], v["status_id"]}; got != want {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}
