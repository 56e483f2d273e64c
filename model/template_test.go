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

// TestTemplatesCompare compares templates with what they match, over all short paths of a small alphabet.
func TestTemplatesCompare(t *testing.T) {
	var templates []Template
	parts := []string{"a", "b", "{x}"}
	tails := []string{"", "/", "/**"}
	for _, one := range parts {
		for _, tail := range tails {
			templates = append(templates, parse(t, "/"+one+tail))
			for _, two := range parts {
				templates = append(templates, parse(t, "/"+one+"/"+strings.Replace(two, "x", "y", 1)+tail))
			}
		}
	}
	templates = append(templates, parse(t, "/"), parse(t, "/**"))
	var paths [][]string
	words := []string{"", "a", "b", "c"}
	for _, one := range words {
		paths = append(paths, []string{one})
		for _, two := range words {
			paths = append(paths, []string{one, two})
			for _, three := range words {
				paths = append(paths, []string{one, two, three})
			}
		}
	}
	for _, a := range templates {
		for _, b := range templates {
			covers := true
			for _, p := range paths {
				covers = covers && (!matches(b, p) || matches(a, p))
			}
			if got := a.Covers(b); got != covers {
				t.Errorf("%s covers %s: %t", a, b, got)
			}
			both, ok := a.Meet(b)
			for _, p := range paths {
				if want := matches(a, p) && matches(b, p); want != (ok && matches(both, p)) {
					t.Errorf("%s and %s meet in %s, %t: wrong about %q", a, b, both, ok, p)
				}
			}
		}
	}
}

func parse(t *testing.T, path string) Template {
	t.Helper()
	template, err := ParseTemplate(path)
	if err != nil {
		t.Fatal(err)
	}
	return template
}

// matches is too simple to be wrong. Paths have no empty segment but the last, which the canonicaliser ensures.
func matches(t Template, path []string) bool {
	for i, s := range path {
		if s == "" && i < len(path)-1 {
			return false
		}
	}
	for i, s := range t {
		switch {
		case s.Rest:
			return len(path) >= i
		case i >= len(path) || s.Param != "" && path[i] == "" || s.Param == "" && s.Literal != path[i]:
			return false
		}
	}
	return len(t) == len(path)
}
