package model

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

func quote(s string) string { return strconv.Quote(s) }

// String writes file:line:column, without what is unknown.
func (p Position) String() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.Column == 0:
		return p.File + ":" + strconv.Itoa(p.Line)
	default:
		return p.File + ":" + strconv.Itoa(p.Line) + ":" + strconv.Itoa(p.Column)
	}
}

// String writes the finding on one line: file:line:col: error: key.path: text [code].
func (f Finding) String() string {
	var b strings.Builder
	if f.Position.File != "" {
		b.WriteString(f.Position.String() + ": ")
	}
	b.WriteString(string(f.Severity) + ": ")
	if f.Key != "" {
		b.WriteString(f.Key + ": ")
	}
	b.WriteString(f.Text + " [" + f.Code + "]")
	return b.String()
}

// HasErrors tells whether some finding stops the model from being used.
func HasErrors(findings []Finding) bool {
	return slices.ContainsFunc(findings, func(f Finding) bool { return f.Severity == Error })
}

// maxFindings bounds what is reported; who sees so many has named a file that is no model.
const maxFindings = 500

// settle orders findings by place, removes what was found twice and cuts what nobody would read.
func settle(findings []Finding) []Finding {
	slices.SortStableFunc(findings, func(a, b Finding) int {
		return cmp.Or(
			cmp.Compare(a.Position.File, b.Position.File),
			cmp.Compare(a.Position.Line, b.Position.Line),
			cmp.Compare(a.Position.Column, b.Position.Column),
			cmp.Compare(a.Code, b.Code), cmp.Compare(a.Key, b.Key), cmp.Compare(a.Text, b.Text),
		)
	})
	findings = slices.Compact(findings)
	if len(findings) > maxFindings {
		f := Finding{Severity: Error, Code: "too-many", Position: findings[maxFindings].Position, Text: "too many mistakes; from here on they are not shown"}
		findings = append(findings[:maxFindings], f)
	}
	return findings
}

// FormatFindings writes findings for a terminal, each with the line it means and a caret below the place:
//
//	shop.yaml:12:5: error: services.orders.adress: unknown key "adress" [unknown-key]
//	  12 |     adress: http://127.0.0.1:7001
//	     |     ^
//	    hint: did you mean "address"?
//
// Lines are read again from the files, and left out when they cannot be; a line with a literal secret is never
// shown. Colour is the caller's.
func FormatFindings(w io.Writer, findings []Finding) error {
	var b bytes.Buffer
	shown := source{files: make(map[string][]string), secret: make(map[Position]bool)}
	for _, f := range findings {
		if f.Code == codeLiteralSecret {
			shown.secret[Position{File: f.Position.File, Line: f.Position.Line}] = true
		}
	}
	for _, f := range findings {
		b.WriteString(f.String() + "\n")
		shown.write(&b, f.Position)
		if f.Other.File != "" {
			fmt.Fprintf(&b, "    the other: %s\n", f.Other)
			shown.write(&b, f.Other)
		}
		if f.Hint != "" {
			b.WriteString("    hint: " + f.Hint + "\n")
		}
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("writing findings: %w", err)
	}
	return nil
}

// source holds the lines of files, and which of them hold a secret and are not shown for any finding.
type source struct {
	files  map[string][]string
	secret map[Position]bool
}

func (s source) write(b *bytes.Buffer, p Position) {
	if p.Line == 0 || p.File == "" || s.secret[Position{File: p.File, Line: p.Line}] {
		return
	}
	lines, known := s.files[p.File]
	if !known {
		if text, err := readBounded(p.File, maxFile); err == nil {
			lines = strings.Split(string(text), "\n")
		}
		s.files[p.File] = lines
	}
	if p.Line > len(lines) {
		return
	}
	const widest = 160
	line := []rune(printable(lines[p.Line-1]))
	if p.Column > widest {
		return
	}
	number := strconv.Itoa(p.Line)
	fmt.Fprintf(b, "  %s | %s\n", number, string(line[:min(len(line), widest)]))
	if p.Column > 0 {
		fmt.Fprintf(b, "  %s | %s^\n", strings.Repeat(" ", len(number)), strings.Repeat(" ", p.Column-1))
	}
}

// printable replaces each character that could move the cursor by one that cannot, so that columns stay.
func printable(line string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\r':
			return -1
		case r == '\t':
			return ' '
		case r < ' ', r >= 0x7f && r < 0xa0, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
			return '?'
		}
		return r
	}, line)
}

// readBounded reads a regular file of at most limit bytes.
func readBounded(file string, limit int64) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("opening: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("opening: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%q is not a regular file", file)
	}
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("reading: %w", err)
	}
	if int64(len(text)) > limit {
		return nil, fmt.Errorf("%q is larger than %d bytes", file, limit)
	}
	return text, nil
}

// Refusal is why a model is not taken, on one line for records and for those who have no file to look into: the first mistake
// among findings and how many more there are; without one, err.
func Refusal(err error, findings []Finding) error {
	first, more := "", 0
	for _, f := range findings {
		switch {
		case f.Severity != Error:
		case first == "":
			first = f.String()
		default:
			more++
		}
	}
	switch {
	case first == "":
		return err
	case more > 0:
		first += fmt.Sprintf(" (and %d more)", more)
	}
	return errors.New(strings.Join(strings.Fields(first), " "))
}
