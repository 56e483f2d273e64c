package model

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// Edited is a file of the model before and after an edit.
type Edited struct {
	File          string // as Load was given it
	Before, After []byte
}

// ErrUneditable says that something is written in a way in which it cannot be taken out without writing the file anew.
var ErrUneditable = errors.New("it is written in a way that is not edited; change it by hand")

// Without returns the files of the model without some elements of lists, named by their key paths, such as
// services.orders.callers[1]. All else stays as it is written, comments too; a list of which nothing is left goes with its key. Nothing is
// written. Paths below another one that goes need not be named. The error names the first path that is not there, or wraps
// ErrUneditable.
func (d *Declared) Without(paths []string) ([]Edited, error) {
	byFile := map[string][]Position{}
	for _, path := range paths {
		at, ok := d.places[path]
		if !ok {
			return nil, fmt.Errorf("editing the model: no %s is declared", path)
		}
		byFile[at.Value.File] = append(byFile[at.Value.File], at.Value)
	}
	var out []Edited
	for _, file := range sortedKeys(byFile) {
		before, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("editing the model: %w", err)
		}
		after, err := without(file, before, byFile[file])
		if err != nil {
			return nil, fmt.Errorf("editing %s: %w", file, err)
		}
		out = append(out, Edited{File: file, Before: before, After: after})
	}
	return out, nil
}

// With is the model with some of its files edited, which stay as they are on disk, and what is wrong with it then.
func (d *Declared) With(edited []Edited) (*Declared, []Finding, error) {
	texts := map[string]*Edited{}
	for i := range edited {
		absolute, err := filepath.Abs(edited[i].File)
		if err != nil {
			return nil, nil, fmt.Errorf("editing the model: %w", err)
		}
		texts[absolute] = &edited[i]
	}
	out := &Declared{places: map[string]place{}, files: d.files, dirs: d.dirs}
	dec := &decoder{places: out.places}
	for _, file := range d.files {
		if e := texts[file]; e != nil {
			dec.decode(e.File, e.After, &out.Fleet)
			continue
		}
		if err := dec.read(file, &out.Fleet); err != nil {
			return nil, nil, fmt.Errorf("editing the model: %w", err)
		}
	}
	return out, out.judge(dec, d.files[0]), nil
}

// Key returns the key path under which something is declared, of the parts of it: names, and indexes of lists as ints.
func Key(parts ...any) string {
	path := ""
	for _, p := range parts {
		if i, ok := p.(int); ok {
			path += fmt.Sprintf("[%d]", i)
		} else {
			path = join(path, fmt.Sprint(p))
		}
	}
	return path
}

// cut is a part of a text, in bytes.
type cut struct{ from, to int }

// editor finds in a text what its syntax tree says.
type editor struct {
	file  string
	text  string
	lines []int // where they begin, and the end
	gone  map[Position]bool
	cuts  []cut
	found int
}

func newEditor(file, text string) *editor {
	e := &editor{file: file, text: text, lines: []int{0}, gone: map[Position]bool{}}
	for i := range e.text {
		if e.text[i] == '\n' {
			e.lines = append(e.lines, i+1)
		}
	}
	e.lines = append(e.lines, len(e.text))
	return e
}

func without(file string, before []byte, gone []Position) ([]byte, error) {
	bom := []byte("\ufeff")
	body := bytes.TrimPrefix(before, bom)
	root, findings := parseYAML(file, before)
	if root == nil || HasErrors(findings) {
		return nil, errors.New("it is no model any more")
	}
	e := newEditor(file, string(body))
	for _, p := range gone {
		e.gone[p] = true
	}
	if err := e.node(root); err != nil {
		return nil, err
	}
	if e.found != len(e.gone) {
		return nil, ErrUneditable
	}
	slices.SortFunc(e.cuts, func(a, b cut) int { return cmp.Compare(a.from, b.from) })
	out, at := bytes.Clone(before[:len(before)-len(body)]), 0
	for _, c := range e.cuts {
		if c.from < at {
			return nil, ErrUneditable
		}
		out = append(out, e.text[at:c.from]...)
		at = c.to
	}
	return append(out, e.text[at:]...), nil
}

// node looks for lists with elements that go.
func (e *editor) node(n ast.Node) error {
	switch n := n.(type) {
	case *ast.MappingNode:
		for i, pair := range n.Values {
			list, ok := pair.Value.(*ast.SequenceNode)
			if ok && len(list.Values) > 0 && e.all(list) {
				e.found += len(list.Values)
				if err := e.cutKey(n, i); err != nil {
					return err
				}
				continue
			}
			if err := e.node(pair.Value); err != nil {
				return err
			}
		}
	case *ast.SequenceNode:
		return e.list(n)
	}
	return nil
}

func (e *editor) goes(n ast.Node) bool { return e.gone[positionOf(e.file, n)] }

func (e *editor) all(list *ast.SequenceNode) bool {
	return !slices.ContainsFunc(list.Values, func(n ast.Node) bool { return !e.goes(n) })
}

// list cuts the elements of a list that go, of which some stay.
func (e *editor) list(list *ast.SequenceNode) error {
	last := -1 // that stays
	for i, n := range list.Values {
		if !e.goes(n) {
			last = i
			if err := e.node(n); err != nil {
				return err
			}
		}
	}
	for i, n := range list.Values {
		if !e.goes(n) {
			continue
		}
		e.found++
		c := cut{e.offset(n), 0}
		switch {
		case !list.IsFlowStyle:
			var err error
			if c, err = e.block(c.from, "-"); err != nil {
				return err
			}
		case i < last:
			c.to = e.offset(list.Values[i+1])
		case i == last+1: // the tail goes as a whole, with the comma before it
			c = cut{e.flowEnd(e.offset(list.Values[last])), e.flowEnd(e.offset(list.Values[len(list.Values)-1]))}
		default:
			continue
		}
		if err := e.cut(c); err != nil {
			return err
		}
	}
	return nil
}

func (e *editor) cut(c cut) error {
	if c.from < 0 || c.to < c.from {
		return ErrUneditable
	}
	e.cuts = append(e.cuts, c)
	return nil
}

// cutKey cuts a key with its value.
func (e *editor) cutKey(n *ast.MappingNode, i int) error {
	key := n.Values[i].Key
	from := e.offset(key)
	switch {
	case !n.IsFlowStyle:
		c, err := e.block(from, "")
		if err != nil {
			return err
		}
		return e.cut(c)
	case i+1 < len(n.Values):
		return e.cut(cut{from, e.offset(n.Values[i+1].Key)})
	case i > 0:
		return e.cut(cut{e.flowEnd(e.offset(n.Values[i-1].Key)), e.flowEnd(from)})
	}
	return ErrUneditable
}

// offset is where a node begins, in bytes.
func (e *editor) offset(n ast.Node) int {
	p := positionOf(e.file, n)
	if p.Line < 1 || p.Line >= len(e.lines) {
		return -1
	}
	at := e.lines[p.Line-1]
	for range p.Column - 1 {
		if at >= len(e.text) {
			return -1
		}
		at++
		for at < len(e.text) && e.text[at]&0xc0 == 0x80 {
			at++
		}
	}
	return at
}

// flowEnd is where the element of a flow collection ends that begins at some place: at its comma or bracket. -1: nowhere.
func (e *editor) flowEnd(at int) int {
	depth := 0
	for at >= 0 && at < len(e.text) {
		switch c := e.text[at]; c {
		case '\'', '"':
			if at > 0 && strings.IndexByte(" [{,", e.text[at-1]) >= 0 { // else it is a letter like others
				at = quoteEnd(e.text, at)
				continue
			}
		case '[', '{':
			depth++
		case ']', '}':
			if depth == 0 {
				return at
			}
			depth--
		case ',':
			if depth == 0 {
				return at
			}
		case '#':
			if e.text[at-1] == ' ' {
				return -1 // a comment within
			}
		}
		at++
	}
	return -1
}

func quoteEnd(s string, at int) int {
	quote := s[at]
	for at++; at < len(s); at++ {
		switch {
		case s[at] == '\\' && quote == '"':
			at++
		case s[at] == quote:
			return at + 1
		}
	}
	return -1
}

// block is the lines of an element of a block list, or of a key, which begins on a line of its own: up to the next line that is not
// indented deeper. Blank lines behind it stay.
func (e *editor) block(at int, mark string) (cut, error) {
	if at < 0 {
		return cut{}, ErrUneditable
	}
	first, _ := slices.BinarySearch(e.lines, at+1)
	first--
	head := e.text[e.lines[first]:at]
	indent := len(head) - len(strings.TrimLeft(head, " "))
	if strings.TrimSpace(head) != mark {
		return cut{}, ErrUneditable
	}
	end := first + 1
	for next := first + 1; next < len(e.lines)-1; next++ {
		line := e.text[e.lines[next]:e.lines[next+1]]
		inner := strings.TrimLeft(line, " ")
		if strings.TrimSpace(inner) == "" {
			continue
		}
		deep := len(line) - len(inner)
		if inner[0] == '#' && deep <= indent {
			continue // it goes only if what it stands within does
		}
		if deep < indent || deep == indent && (mark != "" || !strings.HasPrefix(inner, "- ")) {
			break
		}
		end = next + 1
	}
	return cut{e.lines[first], e.lines[end]}, nil
}
