package policy

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/cedar-policy/cedar-go"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/palisade-security/palisade/model"
)

// Bounds of a policy file, so that a hostile one cannot exhaust memory or stack.
const (
	maxFile   = 4 << 20 // bytes
	maxDepth  = 64      // nested brackets
	maxErrors = 20      // reported syntax errors
)

// files parses the policy files. A policy's id is its @id annotation, or its file and number.
func (c *compiler) files() {
	for i := range c.snap.Policies {
		f := &c.snap.Policies[i]
		if problem := outOfBounds(f.Text); problem != "" {
			c.find(model.Finding{
				Severity: model.Error, Code: "policy-syntax", Position: model.Position{File: f.Name}, Text: problem,
			})
			continue
		}
		list, err := cedar.NewPolicyListFromBytes(f.Name, []byte(f.Text))
		if err != nil {
			c.syntax(f, err)
			continue
		}
		for n, p := range list {
			c.file(f, n, p)
		}
	}
}

// file takes over one policy of a file.
func (c *compiler) file(f *model.PolicyFile, n int, p *cedar.Policy) {
	pos := p.Position()
	at := model.Position{File: f.Name, Line: pos.Line, Column: pos.Column}
	id := f.Name + "#" + strconv.Itoa(n)
	if named, ok := p.Annotations()["id"]; ok {
		id = string(named)
		if id == "" || len(id) > 200 || strings.HasPrefix(id, "grant:") || strings.ContainsFunc(id, isControl) {
			c.find(model.Finding{
				Severity: model.Error, Code: "policy-id", Position: at,
				Text: "@id must be 1 to 200 printable characters and not begin with grant:",
			})
			return
		}
	}
	if old, ok := c.byID[id]; ok {
		c.find(model.Finding{
			Severity: model.Error, Code: "policy-id", Position: at, Other: old.at,
			Text: "policy id " + quote(id) + " is used twice", Hint: "give each policy its own @id",
		})
		return
	}
	text := f.Text[pos.Offset:]
	text = text[:statementEnd(text)]
	r := newRule(id, len(c.rules), (*xast.Policy)(p.AST()), at, text)
	c.rules = append(c.rules, r)
	c.byID[id] = r
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// errorPlace is how the parser writes positions: <input>:3:14 or 3:14.
var errorPlace = regexp.MustCompile(`(?:<input>)?:?(\d+):(\d+)`)

// syntax reports what is wrong with a file: the parser stops at the first error, so each statement is parsed
// again by itself to show all of them.
func (c *compiler) syntax(f *model.PolicyFile, err error) {
	found := 0
	line, column, rest := 1, 1, f.Text
	for rest != "" && found < maxErrors {
		end := statementEnd(rest)
		statement := rest[:end]
		if strings.TrimSpace(stripComments(statement)) != "" {
			var list cedar.PolicyList
			if e := list.UnmarshalCedar([]byte(statement)); e != nil {
				c.syntaxError(f.Name, e, line, column)
				found++
			}
		}
		line, column = advance(statement, line, column)
		rest = rest[end:]
	}
	if found == 0 {
		c.syntaxError(f.Name, err, 1, 1)
	}
}

// syntaxError reports one parser error; line and column are where the parsed text begins.
func (c *compiler) syntaxError(file string, err error, line, column int) {
	at := model.Position{File: file, Line: line, Column: column}
	text := strings.TrimPrefix(err.Error(), "parser error: ")
	if m := errorPlace.FindStringSubmatchIndex(text); m != nil {
		l, _ := strconv.Atoi(text[m[2]:m[3]])
		k, _ := strconv.Atoi(text[m[4]:m[5]])
		at.Column = k
		if l == 1 {
			at.Column = column + k - 1
		}
		at.Line = line + l - 1
		text = strings.TrimSpace(strings.TrimPrefix(text[m[1]:], ":"))
	}
	c.find(model.Finding{
		Severity: model.Error, Code: "policy-syntax", Position: at, Text: "not Cedar: " + plainer(text),
	})
}

// exactly is how the parser says what it wanted: "x": exact got x want y.
var exactly = regexp.MustCompile(`^"(?:.*)": exact got (.*) want (.+)$`)

// plainer rewords a message of the parser.
func plainer(text string) string {
	if m := exactly.FindStringSubmatch(text); m != nil {
		if m[1] == "" {
			return "expected " + m[2] + ", found the end"
		}
		return "expected " + m[2] + ", found " + m[1]
	}
	if strings.HasPrefix(text, `"`) {
		return "near " + text
	}
	return text
}
