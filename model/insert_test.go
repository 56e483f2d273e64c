package model_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/model"
)

const documentYAML = `openapi: 3.1.0 # the version
paths:
  # what people order
  /orders:
    get:
      parameters:
        - {name: q, in: query}
        - name: page
          in: query

      responses: {"200": {description: mine}}

  # one of them
  /orders/{id}:
    get: {responses: {"200": {description: one}}}
    put: {}
    parameters: []
info:
  description: |
    several

    lines
`

func TestInsert(t *testing.T) {
	schema := model.Object{{"type", "string"}}
	param := model.Object{{"name", "sort"}, {"in", "query"}, {"required", false}, {"schema", schema}}
	after, err := model.Insert([]byte(documentYAML), []model.Addition{
		{Path: []string{"paths", "/orders", "get", "parameters"}, Value: param},
		{Path: []string{"paths", "/orders", "get", "responses"}, Key: "202", Value: model.Object{{"description", "seen in traffic"}}},
		{Path: []string{"paths"}, Key: "/orders/{id}/refund", Value: model.Object{
			{"post", model.Object{{"requestBody", model.Object{{"content", model.Object{{"application/json", model.Object{{"schema", schema}}}}}}}, {"parameters", []any{param, "yes"}}}},
		}},
		{Path: []string{"paths", "/orders/{id}", "put"}, Key: "a", Value: true},
		{Path: []string{"paths", "/orders/{id}", "put"}, Key: "b", Value: []any{}},
		{Path: []string{"paths", "/orders/{id}", "parameters"}, Value: "x: y"},
		{Path: nil, Key: "tags", Value: []any{1, "null"}},
		{Path: []string{"info"}, Key: "title", Value: "a title"},
	})
	if err != nil {
		t.Fatal(err)
	}
	const want = `openapi: 3.1.0 # the version
paths:
  # what people order
  /orders:
    get:
      parameters:
        - {name: q, in: query}
        - name: page
          in: query
        - {name: sort, in: query, required: false, schema: {type: string}}

      responses: {"202": {description: seen in traffic}, "200": {description: mine}}

  # one of them
  /orders/{id}:
    get: {responses: {"200": {description: one}}}
    put: {b: [], a: true}
    parameters: ["x: y"]
  /orders/{id}/refund:
    post:
      requestBody: {content: {application/json: {schema: {type: string}}}}
      parameters:
        - {name: sort, in: query, required: false, schema: {type: string}}
        - "yes"
info:
  description: |
    several

    lines
  title: a title
tags:
  - 1
  - "null"
`
	if string(after) != want {
		t.Errorf("got\n%s", after)
	}
	if tree, err := model.ReadDocument(after); err != nil || tree["info"].(map[string]any)["title"] != "a title" {
		t.Errorf("%v, %v", tree, err)
	}
}

func TestInsertJSON(t *testing.T) {
	addition := []model.Addition{
		{Path: []string{"paths"}, Key: "/b", Value: model.Object{{"get", model.Object{{"x", "<y>"}}}}},
		{Path: []string{"paths", "/a", "list"}, Value: "z"},
		{Path: []string{"paths", "/a", "none"}, Key: "k", Value: 1},
		{Path: []string{"paths", "/a", "none"}, Key: "l", Value: 2},
	}
	var want any
	if err := json.Unmarshal([]byte(`{"paths":{"/b":{"get":{"x":"<y>"}},"/a":{"list":["z",1],"none":{"l":2,"k":1}}}}`), &want); err != nil {
		t.Fatal(err)
	}
	const compact = `{"paths":{"/a":{"list":[1],"none":{}}}}`
	var pretty strings.Builder
	for _, line := range []string{"{", `  "paths": {`, `    "/a": {`, `      "list": [`, `        1`, `      ],`, `      "none": {}`, `    }`, `  }`, `}`} {
		pretty.WriteString(line + "\r\n")
	}
	for _, text := range []string{compact, pretty.String(), strings.ReplaceAll(pretty.String(), "\r", "")} {
		after, err := model.Insert([]byte(text), addition)
		if err != nil {
			t.Fatal(err)
		}
		var got any
		if err := json.Unmarshal(after, &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%v\n%s", err, after)
		}
		if !strings.Contains(text, "\r") && text != compact && !strings.Contains(string(after), "\n    \"/b\": {\n      \"get\": {\n        \"x\": \"<y>\"\n      }\n    },\n    \"/a\"") {
			t.Errorf("got\n%s", after)
		}
	}
}

func TestInsertRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		add  model.Addition
		want string
	}{
		"a key that is there": {documentYAML, model.Addition{Path: []string{"paths"}, Key: "/orders"}, "change it by hand"},
		"nowhere":             {documentYAML, model.Addition{Path: []string{"paths", "/x", "get"}, Key: "a"}, `there is no "/x"`},
		"no mapping":          {documentYAML, model.Addition{Path: []string{"openapi"}, Key: "a"}, "change it by hand"},
		"no list":             {documentYAML, model.Addition{Path: []string{"paths"}}, "change it by hand"},
		"no document":         {"- a", model.Addition{Key: "a"}, "expected keys at the top"},
	} {
		if _, err := model.Insert([]byte(c.text), []model.Addition{c.add}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := model.Insert([]byte("a: *x\nb: 1\n"), []model.Addition{{Path: []string{"a"}, Key: "k"}}); err == nil {
		t.Error("an alias is edited")
	} else if !errors.Is(err, model.ErrUneditable) && !strings.Contains(err.Error(), "x") {
		t.Errorf("got %v", err)
	}
}
