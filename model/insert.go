package model

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// Addition is something that goes into a document: a member of the mapping at Path or, without a key, an element of the list there.
type Addition struct {
	Path  []string // keys from the top, indexes of lists as numbers
	Key   string
	Value any // Object, []any, string, bool or int
}

// ReadDocument reads an API document in YAML or JSON as a tree of map[string]any, []any and texts. Nothing is expanded: an alias is
// nil.
func ReadDocument(text []byte) (map[string]any, error) {
	root, err := parseDocument(bytes.TrimPrefix(text, []byte("\ufeff")))
	if err != nil {
		return nil, fmt.Errorf("reading the document: %w", err)
	}
	tree, _ := treeOf(root).(map[string]any)
	return tree, nil
}

func treeOf(n ast.Node) any {
	switch n := n.(type) {
	case *ast.MappingNode:
		m := make(map[string]any, len(n.Values))
		for _, pair := range n.Values {
			m[keyText(pair)] = treeOf(pair.Value)
		}
		return m
	case *ast.SequenceNode:
		list := make([]any, len(n.Values))
		for i, v := range n.Values {
			list[i] = treeOf(v)
		}
		return list
	case *ast.AnchorNode:
		return treeOf(n.Value)
	case *ast.LiteralNode:
		return n.Value.Value
	case nil, *ast.AliasNode, *ast.NullNode:
		return nil
	case ast.ScalarNode:
		return n.GetToken().Value
	}
	return nil
}

func keyText(pair *ast.MappingValueNode) string { return pair.Key.GetToken().Value }

// Insert returns a document with additions. All else stays as it is written, comments too: in a block what is added stands last, in
// braces and brackets first. A key that is added must not be there. The error names the first place that cannot be found, or
// wraps ErrUneditable.
func Insert(text []byte, additions []Addition) ([]byte, error) {
	bom := []byte("\ufeff")
	body := bytes.TrimPrefix(text, bom)
	root, err := parseDocument(body)
	if err != nil {
		return nil, fmt.Errorf("editing the document: %w", err)
	}
	in := &inserter{editor: newEditor("", string(body)), json: strings.HasPrefix(strings.TrimSpace(string(body)), "{")}
	for i := range additions {
		a := &additions[i]
		n, err := nodeAt(root, a.Path)
		if err == nil {
			err = in.add(n, a)
		}
		if err != nil {
			return nil, fmt.Errorf("editing the document: /%s: %w", strings.Join(a.Path, "/"), err)
		}
	}
	slices.SortStableFunc(in.inserts, func(a, b insert) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(b.indent, a.indent)) // what lies deeper ends first
	})
	out, from := bytes.Clone(text[:len(text)-len(body)]), 0
	for _, i := range in.inserts {
		out = append(append(out, in.text[from:i.at]...), i.text...)
		from = i.at
	}
	return append(out, in.text[from:]...), nil
}

// nodeAt is the node at a path.
func nodeAt(n ast.Node, path []string) (ast.Node, error) {
	for _, part := range path {
		var next ast.Node
		if a, ok := n.(*ast.AnchorNode); ok {
			n = a.Value
		}
		switch n := n.(type) {
		case *ast.MappingNode:
			for _, pair := range n.Values {
				if keyText(pair) == part {
					next = pair.Value
				}
			}
		case *ast.SequenceNode:
			if i, err := strconv.Atoi(part); err == nil && i >= 0 && i < len(n.Values) {
				next = n.Values[i]
			}
		}
		if next == nil {
			return nil, fmt.Errorf("there is no %q", part)
		}
		n = next
	}
	return n, nil
}

// insert is a text that goes in at some place, in bytes.
type insert struct {
	at     int
	text   string
	indent int // of lines
}

type inserter struct {
	*editor
	json    bool // the whole document
	inserts []insert
	begun   map[int]bool // collections in braces or brackets, once empty, to which something was added
}

func (in *inserter) add(n ast.Node, a *Addition) error {
	switch n := n.(type) {
	case *ast.MappingNode:
		switch {
		case a.Key == "", slices.ContainsFunc(n.Values, func(pair *ast.MappingValueNode) bool { return keyText(pair) == a.Key }):
			return ErrUneditable
		case n.IsFlowStyle || len(n.Values) == 0:
			return in.flow(n, '{', len(n.Values) == 0, a)
		}
		last := n.Values[len(n.Values)-1]
		return in.below(in.offset(last.Key), "", n.Values[0].Key.GetToken().Position.Column-1, blockMember(a.Key, a.Value))
	case *ast.SequenceNode:
		switch {
		case a.Key != "":
			return ErrUneditable
		case n.IsFlowStyle || len(n.Values) == 0:
			return in.flow(n, '[', len(n.Values) == 0, a)
		}
		last := in.offset(n.Values[len(n.Values)-1])
		return in.below(last, "-", -1, blockElement(a.Value))
	}
	return ErrUneditable
}

// below adds lines behind the last element of a block, which begins at some place; indent -1: as deep as its mark.
func (in *inserter) below(last int, mark string, indent int, lines []string) error {
	c, err := in.block(last, mark)
	if err != nil {
		return err
	}
	if indent < 0 {
		head := in.text[c.from:last]
		indent = len(head) - len(strings.TrimLeft(head, " "))
	}
	var b strings.Builder
	missing := c.to > 0 && in.text[c.to-1] != '\n' // the end of the file
	if missing {
		b.WriteByte('\n')
	}
	for i, line := range lines {
		b.WriteString(strings.Repeat(" ", indent) + line)
		if !missing || i < len(lines)-1 {
			b.WriteByte('\n')
		}
	}
	in.inserts = append(in.inserts, insert{c.to, b.String(), indent})
	return nil
}

// flow adds to a collection in braces or brackets, behind its begin.
func (in *inserter) flow(n ast.Node, bracket byte, empty bool, a *Addition) error {
	begin := in.offset(n)
	if begin < 0 || begin >= len(in.text) || in.text[begin] != bracket {
		return ErrUneditable
	}
	if in.begun[begin] {
		empty = false
	}
	if in.begun == nil {
		in.begun = map[int]bool{}
	}
	if empty {
		in.begun[begin] = true
	}
	lead, deep := in.inner(begin)
	text := flowText(a.Value)
	key := ""
	if a.Key != "" {
		key = flowText(a.Key) + ": "
	}
	if in.json {
		text = jsonText(a.Value, lead, deep)
		if a.Key != "" {
			key = jsonText(a.Key, "", "") + ": "
		}
	}
	text = key + text
	switch {
	case lead != "" && in.json:
		text = lead + text
		if !empty {
			text += ","
		}
	case !empty:
		text += ", "
	}
	// Of several, the one that is added to an empty collection stands last: it alone has no comma behind it.
	i := insert{at: begin + 1, text: text}
	at := slices.IndexFunc(in.inserts, func(other insert) bool { return other.at == i.at })
	if at < 0 {
		at = len(in.inserts)
	}
	in.inserts = slices.Insert(in.inserts, at, i)
	return nil
}

// inner is what stands between a bracket and its first element, if that begins on a line of its own, and how much deeper that is than the
// line of the bracket.
func (in *inserter) inner(begin int) (lead, deep string) {
	rest := in.text[begin+1:]
	first := strings.TrimLeft(rest, " \t\r\n")
	lead = rest[:len(rest)-len(first)]
	if !strings.Contains(lead, "\n") || first == "" || first[0] == '}' || first[0] == ']' {
		return "", ""
	}
	lead = lead[strings.LastIndexByte(lead, '\n'):]
	line := in.text[strings.LastIndexByte(in.text[:begin], '\n')+1:]
	outer := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
	deep, ok := strings.CutPrefix(lead[1:], outer)
	if !ok || deep == "" {
		deep = "  "
	}
	return lead, deep
}
