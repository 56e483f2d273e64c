// Package desync reads the request-smuggling corpus of aws/http-desync-guardian and builds the raw requests in
// it. It serves tests only.
package desync

import (
	"bytes"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
)

// Tier is how dangerous the corpus grades a request.
type Tier string

// The tiers: from what every server reads alike to what is an attack.
const (
	Compliant  Tier = "Compliant"  // must pass
	Acceptable Tier = "Acceptable" // departs from the RFCs, but harmlessly
	Ambiguous  Tier = "Ambiguous"  // must not reach a reused upstream connection
	Severe     Tier = "Severe"     // must be refused, and the client's connection closed
)

// Field is a header line as bytes; the name may be none.
type Field struct{ Name, Value string }

// Case is one request of the corpus.
type Case struct {
	File, Name           string
	Method, URI, Version string
	Header               []Field
	Tier                 Tier
	Reason               string // the grader's own word
}

// document is a file of the corpus.
type document []struct {
	Name    string  `yaml:"name"`
	URI     string  `yaml:"uri"`
	Method  string  `yaml:"method"`
	Version string  `yaml:"version"`
	Headers []field `yaml:"headers"`

	Expected struct {
		Tier     string   `yaml:"tier"`
		Reason   string   `yaml:"reason"`
		Messages []string `yaml:"required_message_items"`
	} `yaml:"expected"`
}

type field struct {
	Name  string `yaml:"name"`
	Value string `yaml:"value"`
	Tier  string `yaml:"tier"`
}

// Load reads every *.yaml file at the root of fsys, in order of name. Unknown keys and tiers are errors.
func Load(fsys fs.FS) ([]Case, error) {
	files, err := fs.Glob(fsys, "*.yaml")
	if err != nil {
		return nil, fmt.Errorf("listing the corpus: %w", err)
	}
	var cases []Case
	for _, file := range files {
		text, err := fs.ReadFile(fsys, file)
		if err != nil {
			return nil, fmt.Errorf("reading the corpus: %w", err)
		}
		var doc document
		if err := yaml.UnmarshalWithOptions(text, &doc, yaml.Strict()); err != nil {
			return nil, fmt.Errorf("parsing %s: %w", file, err)
		}
		for _, d := range doc {
			c := Case{
				File: file, Name: d.Name, Method: toBytes(d.Method), URI: toBytes(d.URI), Version: d.Version,
				Tier: Tier(d.Expected.Tier), Reason: d.Expected.Reason,
			}
			for _, h := range d.Headers {
				c.Header = append(c.Header, Field{toBytes(h.Name), toBytes(h.Value)})
			}
			if !slices.Contains([]Tier{Compliant, Acceptable, Ambiguous, Severe}, c.Tier) {
				return nil, fmt.Errorf("parsing %s: case %q has tier %q", file, c.Name, c.Tier)
			}
			cases = append(cases, c)
		}
	}
	return cases, nil
}

// toBytes turns a text of which no character is above U+00FF into one byte for each: the corpus writes the byte
// 0x80 as "\x80", which YAML reads as a character of two bytes. Other texts stay UTF-8.
func toBytes(s string) string {
	b := make([]byte, 0, len(s))
	for _, c := range s {
		if c > 0xff || c == utf8.RuneError {
			return s
		}
		b = append(b, byte(c))
	}
	return string(b)
}

// Raw returns the request as bytes, with a Host field for host in front unless the case has its own, and with the
// body that its framing announces: an empty chunked one, or as many letters as Content-Length says, at most
// 64 KiB of them.
func (c *Case) Raw(host string) []byte {
	var b bytes.Buffer
	b.WriteString(strings.TrimRight(c.Method+" "+c.URI+" "+c.Version, " ") + "\r\n")
	if !slices.ContainsFunc(c.Header, func(f Field) bool { return strings.EqualFold(f.Name, "Host") }) {
		b.WriteString("Host: " + host + "\r\n")
	}
	length, chunked := 0, false
	for _, f := range c.Header {
		b.WriteString(f.Name + ": " + f.Value + "\r\n")
		if n, err := strconv.Atoi(strings.TrimSpace(f.Value)); err == nil && strings.Contains(strings.ToLower(f.Name), "content-length") {
			length = max(length, n)
		}
		chunked = chunked || strings.Contains(strings.ToLower(f.Name), "transfer-encoding")
	}
	b.WriteString("\r\n")
	if chunked {
		b.WriteString("0\r\n\r\n")
	} else {
		b.WriteString(strings.Repeat("a", min(length, 64<<10)))
	}
	return b.Bytes()
}
