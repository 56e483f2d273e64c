package model

import (
	"reflect"
	"strings"
	"testing"
)

func TestParseTemplate(t *testing.T) {
	for path, want := range map[string]Template{
		"/":                {{}},
		"/a":               {{Literal: "a"}},
		"/a/":              {{Literal: "a"}, {}},
		"/**":              {{Rest: true}},
		"/a/{id}":          {{Literal: "a"}, {Param: "id"}},
		"/a/{id}/b/**":     {{Literal: "a"}, {Param: "id"}, {Literal: "b"}, {Rest: true}},
		"/v1.2/x-y_~:@(1)": {{Literal: "v1.2"}, {Literal: "x-y_~:@(1)"}},
	} {
		got, err := ParseTemplate(path)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("ParseTemplate(%q) = %v, %v; want %v", path, got, err, want)
		}
		if got.String() != path {
			t.Errorf("%q is written back as %q", path, got.String())
		}
	}
}

func TestParseTemplateRefuses(t *testing.T) {
	for path, want := range map[string]string{
		"":                          "it must begin with /",
		"orders":                    "it must begin with /",
		"//a":                       "it must not contain //",
		"/a//b":                     "it must not contain //",
		"/a/./b":                    "dot segments",
		"/a/..":                     "dot segments",
		"/a/**/b":                   "** may only be the last segment",
		"/a/*":                      "* has no meaning",
		"/a/***":                    "* has no meaning",
		"/a/x{id}":                  "a parameter must be the whole segment",
		"/a/{id":                    "a parameter must be the whole segment",
		"/a/{}":                     "not a parameter name",
		"/a/{1a}":                   "not a parameter name",
		"/a/{a}/{a}":                "parameter {a} is named twice",
		"/a%2fb":                    "must not be percent-encoded",
		"/a b":                      `character ' ' cannot stand`,
		"/a?b":                      `character '?' cannot stand`,
		"/a;b":                      `character ';' cannot stand`,
		`/a\b`:                      `cannot stand`,
		"/ä":                        `cannot stand`,
		"/\x00":                     `cannot stand`,
		strings.Repeat("/a", 65):    "at most 64 segments",
		"/" + longText(maxTemplate): "at most 2048 bytes",
	} {
		_, err := ParseTemplate(path)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseTemplate(%.40q) = %v; want %q", path, err, want)
		}
	}
}

func longText(n int) string { return strings.Repeat("a", n) }

func TestTemplateShape(t *testing.T) {
	a, _ := ParseTemplate("/a/{id}/**")
	b, _ := ParseTemplate("/a/{name}/**")
	c, _ := ParseTemplate("/a/b/**")
	if a.Shape() != b.Shape() || a.Shape() == c.Shape() {
		t.Errorf("shapes: %q %q %q", a.Shape(), b.Shape(), c.Shape())
	}
}

func FuzzParseTemplate(f *testing.F) {
	for _, s := range []string{"/", "/a/{id}/**", "/a//", "/{", "/%2e", "/\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		template, err := ParseTemplate(path)
		if err != nil {
			return
		}
		if template.String() != path {
			t.Fatalf("%q is written back as %q", path, template.String())
		}
	})
}
