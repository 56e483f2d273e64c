package model

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
)

// Object is a mapping whose members have an order.
type Object []Member

// Member is a key with its value: Object, []any, string, bool or int.
type Member struct {
	Key   string
	Value any
}

// MarshalJSON writes the members in their order.
func (o Object) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, m := range o {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, jsonText(m.Key, "", "")+":"+jsonText(m.Value, "", "")...)
	}
	return append(b, '}'), nil
}

// jsonText is a value in JSON: on one line without a lead, else on several, which begin with it.
func jsonText(v any, lead, deep string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return "null" // none of our values does that
	}
	text := bytes.TrimSpace(b.Bytes())
	if lead == "" {
		return string(text)
	}
	var out bytes.Buffer
	if err := json.Indent(&out, text, strings.TrimLeft(lead, "\r\n"), deep); err != nil {
		return string(text)
	}
	return out.String()
}

// flowWidth is how long a collection on one line may be.
const flowWidth = 72

// blockMember is a member of a block mapping, as lines without their indentation.
func blockMember(key string, v any) []string {
	name := blockKey(key)
	o, ok := v.(Object)
	list, isList := v.([]any)
	if short := flowText(v); !ok && !isList || len(o) == 0 && len(list) == 0 || ok && len(short) <= flowWidth {
		return []string{name + ": " + short}
	}
	lines := []string{name + ":"}
	for _, m := range o {
		for _, line := range blockMember(m.Key, m.Value) {
			lines = append(lines, "  "+line)
		}
	}
	for _, item := range list {
		for _, line := range blockElement(item) {
			lines = append(lines, "  "+line)
		}
	}
	return lines
}

// blockElement is an element of a block list; those that are added here fit on one line, or are mappings.
func blockElement(v any) []string {
	o, ok := v.(Object)
	if short := flowText(v); !ok || len(short) <= 2*flowWidth {
		return []string{"- " + short}
	}
	var lines []string
	for _, m := range o {
		for _, line := range blockMember(m.Key, m.Value) {
			mark := "  "
			if len(lines) == 0 {
				mark = "- "
			}
			lines = append(lines, mark+line)
		}
	}
	return lines
}

// flowText is a value in braces, brackets or as a text, on one line.
func flowText(v any) string {
	var parts []string
	switch v := v.(type) {
	case Object:
		for _, m := range v {
			parts = append(parts, flowText(m.Key)+": "+flowText(m.Value))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case []any:
		for _, item := range v {
			parts = append(parts, flowText(item))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case string:
		if isPlain(v) {
			return v
		}
	}
	return jsonText(v, "", "")
}

// blockKey is a key outside of braces, where those of templates need no quotes.
func blockKey(key string) string {
	if isPlain(strings.NewReplacer("{", "", "}", "").Replace(key)) && !strings.HasPrefix(key, "{") {
		return key
	}
	return jsonText(key, "", "")
}

var plainText = regexp.MustCompile(`^[A-Za-z/$][A-Za-z0-9_./$-]*( [A-Za-z0-9_./$-]+)*$`)

// isPlain reports whether a text needs no quotes in YAML: words that may be read as something else have them.
func isPlain(s string) bool {
	switch strings.ToLower(s) {
	case "true", "false", "null", "yes", "no", "on", "off", "y", "n":
		return false
	}
	return plainText.MatchString(s)
}
