package model

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds on a file of the model. They hold before the YAML library's parser, which recurses, sees the text.
const (
	maxFile  = 4 << 20 // bytes
	maxDepth = 64      // nested mappings and sequences
	maxToken = 40_000  // YAML tokens, some 10,000 lines; the library takes quadratic time for wide mappings
)

// parseYAML returns the one mapping that text holds, or nil with the reason. What this model does not use of
// YAML (anchors, aliases, merge keys, tags, directives, several documents) is refused: it hides what is declared.
func parseYAML(file string, text []byte) (*ast.MappingNode, []Finding) {
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	if f, bad := badText(file, text); bad {
		return nil, []Finding{f}
	}
	root, findings := parseTokens(file, string(text))
	switch n := root.(type) {
	case nil:
		if len(findings) == 0 {
			findings = []Finding{{Severity: Error, Code: "empty-file", Position: Position{File: file}, Text: "expected keys such as fleet and services, found an empty file"}}
		}
		return nil, findings
	case *ast.MappingNode:
		return n, findings
	default:
		return nil, append(findings, Finding{
			Severity: Error, Code: "wrong-type", Position: positionOf(file, n),
			Text: "expected keys such as fleet and services, found " + describe(n),
		})
	}
}

// parseTokens contains the library: whatever it does with hostile text, the result is a finding.
func parseTokens(file, text string) (root ast.Node, findings []Finding) {
	defer func() {
		// The parser is not ours; a fault in it must not end a gateway that reloads its model.
		if fault := recover(); fault != nil {
			root = nil
			findings = []Finding{{Severity: Error, Code: "yaml-syntax", Position: Position{File: file}, Text: "the file is not YAML that can be read"}}
		}
	}()
	tokens := lexer.Tokenize(text)
	if findings = guardTokens(file, tokens); len(findings) > 0 {
		return nil, findings
	}
	parsed, err := parser.Parse(joinPlain(tokens), 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, []Finding{syntaxFinding(file, err)}
	}
	for _, document := range parsed.Docs {
		if document.Body == nil {
			continue
		}
		if root != nil {
			return nil, []Finding{{
				Severity: Error, Code: "yaml-documents", Position: positionOf(file, document.Body),
				Text: "expected one document, found a second", Hint: "put it into a file of its own; all files of a directory are read together",
			}}
		}
		root = document.Body
	}
	return root, nil
}

func syntaxFinding(file string, err error) Finding {
	f := Finding{Severity: Error, Code: "yaml-syntax", Position: Position{File: file}, Text: "the file is not YAML that can be read"}
	var located yaml.Error
	if !errors.As(err, &located) {
		return f
	}
	f.Text = "not YAML: " + printable(located.GetMessage())
	if t := located.GetToken(); t != nil && t.Position != nil {
		f.Position.Line, f.Position.Column = t.Position.Line, t.Position.Column
	}
	if strings.Contains(located.GetMessage(), "'\t'") {
		f.Text, f.Hint = "not YAML: found a tab that cannot stand here", "indent with spaces; YAML does not allow tabs there"
	}
	return f
}

// badText finds what no file of the model may contain: other encodings, control and direction characters.
func badText(file string, text []byte) (Finding, bool) {
	line, column := 1, 1
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		f := Finding{Severity: Error, Code: "yaml-encoding", Position: Position{File: file, Line: line, Column: column}}
		switch {
		case r == utf8.RuneError && n == 1:
			f.Text, f.Hint = "expected UTF-8, found another encoding", "save the file as UTF-8"
			return f, true
		case r < ' ' && r != '\n' && r != '\r' && r != '\t', r >= 0x7f && r < 0xa0:
			f.Text = fmt.Sprintf("control character U+%04X cannot stand here", r)
			return f, true
		case r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
			f.Text, f.Hint = fmt.Sprintf("character U+%04X changes the direction of text", r), "remove it: what is read would not be what is shown"
			return f, true
		case r == '\n':
			line, column = line+1, 0
		}
		column++
		i += n
	}
	return Finding{}, false
}

// guardTokens bounds count and nesting and refuses the parts of YAML that the model does not use.
func guardTokens(file string, tokens token.Tokens) []Finding {
	var findings []Finding
	refuse := func(t *token.Token, code, text, hint string) {
		if len(findings) < 20 {
			findings = append(findings, Finding{Severity: Error, Code: code, Position: tokenPosition(file, t), Text: text, Hint: hint})
		}
	}
	if len(tokens) > maxToken {
		refuse(tokens[maxToken], "yaml-size", fmt.Sprintf("more than %d YAML tokens", maxToken), "split the model into several files")
		return findings
	}
	var depth nesting
	var open []token.Type
	for i, t := range tokens {
		open = follow(open, t)
		if i > 0 && i+1 < len(tokens) && len(open) > 0 && open[len(open)-1] == token.MappingStartType && glued(tokens[i-1], t, tokens[i+1]) {
			refuse(t, "yaml-syntax", "expected a space after the colon", "YAML reads "+quote(tokens[i-1].Value+":"+tokens[i+1].Value)+" as one word here")
		}
		if depth.add(t) > maxDepth {
			refuse(t, "yaml-depth", fmt.Sprintf("nested deeper than %d levels", maxDepth), "")
			return findings
		}
		switch t.Type { //nolint:exhaustive // every other token is allowed
		case token.AnchorType:
			refuse(t, "yaml-anchor", "anchors are not part of this format", "write the value where it is used")
		case token.AliasType:
			refuse(t, "yaml-alias", "aliases are not part of this format", "write the value where it is used")
		case token.MergeKeyType:
			refuse(t, "yaml-merge", "merge keys are not part of this format", "write the keys where they are used")
		case token.TagType:
			refuse(t, "yaml-tag", "tags are not part of this format", "write the value without the tag")
		case token.DirectiveType:
			refuse(t, "yaml-directive", "directives are not part of this format", "remove the line")
		}
	}
	return findings
}

// nesting follows how deep the tokens are nested: open brackets plus columns of block indentation.
type nesting struct {
	flow   int
	blocks []int
	line   int
	opener bool // the token before was "-" or "?" on the same line
}

func (n *nesting) add(t *token.Token) int {
	switch t.Type { //nolint:exhaustive // only brackets count
	case token.MappingStartType, token.SequenceStartType:
		n.flow++
	case token.MappingEndType, token.SequenceEndType:
		n.flow = max(0, n.flow-1)
	}
	if n.flow == 0 && t.Position != nil && (n.opener || t.Position.Line != n.line) {
		for len(n.blocks) > 0 && n.blocks[len(n.blocks)-1] >= t.Position.Column {
			n.blocks = n.blocks[:len(n.blocks)-1]
		}
		n.blocks = append(n.blocks, t.Position.Column)
	}
	if t.Position != nil {
		n.line = t.Position.Line
	}
	n.opener = t.Type == token.SequenceEntryType || t.Type == token.MappingKeyType
	return n.flow + len(n.blocks)
}

func positionOf(file string, n ast.Node) Position {
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return tokenPosition(file, n.Values[0].Key.GetToken())
		}
	case *ast.MappingValueNode:
		return tokenPosition(file, n.Key.GetToken())
	}
	return tokenPosition(file, n.GetToken())
}

func tokenPosition(file string, t *token.Token) Position {
	if t == nil || t.Position == nil {
		return Position{File: file}
	}
	return Position{File: file, Line: t.Position.Line, Column: t.Position.Column}
}

// describe names what stands at n in words of the user, without its value.
func describe(n ast.Node) string {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "keys"
	case *ast.SequenceNode:
		return "a list"
	case *ast.StringNode, *ast.LiteralNode:
		return "text"
	case *ast.IntegerNode, *ast.FloatNode:
		return "the number " + n.GetToken().Value
	case *ast.InfinityNode, *ast.NanNode:
		return "no finite number"
	case *ast.BoolNode:
		return n.GetToken().Value
	case *ast.NullNode:
		return "nothing"
	default:
		return "something else"
	}
}
