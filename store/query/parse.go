package query

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// The limits of what people write.
const (
	maxText  = 4 << 10
	maxDepth = 32
	maxTerms = 256
)

// SyntaxError is what of a query cannot be understood.
type SyntaxError struct {
	Column int    // in characters, from 1
	Found  string // what is wrong
	Hint   string // how to mend it; may be empty
}

func (e *SyntaxError) Error() string {
	if e.Hint == "" {
		return fmt.Sprintf("query, column %d: %s", e.Column, e.Found)
	}
	return fmt.Sprintf("query, column %d: %s; %s", e.Column, e.Found, e.Hint)
}

// Parse reads a query as people write it; the tree of an empty one is nil. The error is a *SyntaxError.
//
//	service:orders outcome:denied          both
//	user:alice or user:bob                 any; "and" and juxtaposition bind tighter
//	-method:GET not (path:/health*)        the others; * at the end stands for any rest
//	status:>=500 duration:>100ms time:>=2026-11-22T10:30:00Z
//	"some text" timeout                    said anywhere in the event, in upper or lower case
//	user:* user:""                         somebody, nobody
//
// A value with spaces, quotes, parentheses, * or a backslash stands in double quotes, where a backslash takes the meaning
// from the character after it.
func Parse(text string) (Expr, error) {
	p := &parser{src: text}
	if len(text) > maxText {
		return nil, p.fail(0, fmt.Sprintf("it has %d bytes, more than %d", len(text), maxText), "")
	}
	if !utf8.ValidString(text) {
		return nil, p.fail(0, "it is not UTF-8", "")
	}
	if p.skip(); p.at == len(text) {
		return nil, nil
	}
	x, err := p.or(0)
	if err != nil {
		return nil, err
	}
	if p.at < len(text) {
		return nil, p.fail(p.at, "a closing parenthesis without an opening one", "put text with parentheses in quotes")
	}
	return x, nil
}

type parser struct {
	src   string
	at    int
	terms int
}

func (p *parser) fail(at int, found, hint string) error {
	return &SyntaxError{Column: utf8.RuneCountInString(p.src[:at]) + 1, Found: found, Hint: hint}
}

func (p *parser) skip() {
	p.at = len(p.src) - len(strings.TrimLeftFunc(p.src[p.at:], unicode.IsSpace))
}

// next tells whether the keyword stands here, as a word of its own.
func (p *parser) next(keyword string) bool {
	rest := p.src[p.at:]
	if len(rest) < len(keyword) || !strings.EqualFold(rest[:len(keyword)], keyword) {
		return false
	}
	r, _ := utf8.DecodeRuneInString(rest[len(keyword):])
	return len(rest) == len(keyword) || unicode.IsSpace(r) || r == '(' || r == ')'
}

// take steps over the keyword if it stands here.
func (p *parser) take(keyword string) bool {
	if !p.next(keyword) {
		return false
	}
	p.at += len(keyword)
	p.skip()
	return true
}

// end tells whether nothing more belongs to this and.
func (p *parser) end() bool { return p.at == len(p.src) || p.src[p.at] == ')' }

func (p *parser) or(depth int) (Expr, error) {
	var all Or
	for {
		x, err := p.and(depth)
		if err != nil {
			return nil, err
		}
		all = append(all, x)
		if !p.take("or") {
			break
		}
	}
	if len(all) == 1 {
		return all[0], nil
	}
	return all, nil
}

func (p *parser) and(depth int) (Expr, error) {
	var all And
	for {
		x, err := p.not(depth)
		if err != nil {
			return nil, err
		}
		all = append(all, x)
		if p.take("and") {
			continue
		}
		if p.end() || p.next("or") {
			break
		}
	}
	if len(all) == 1 {
		return all[0], nil
	}
	return all, nil
}

func (p *parser) not(depth int) (Expr, error) {
	start := p.at
	if depth > maxDepth {
		return nil, p.fail(start, fmt.Sprintf("it is nested more than %d deep", maxDepth), "")
	}
	switch {
	case p.end():
		return nil, p.fail(start, "a term is missing here", `write field:value or "text"`)
	case p.next("or"), p.next("and"):
		return nil, p.fail(start, "a term is missing before this", "put the word in quotes to look for it")
	case p.take("not"), p.minus():
		x, err := p.not(depth + 1)
		if err != nil {
			return nil, err
		}
		return Not{x}, nil
	case p.src[start] == '(':
		p.at++
		p.skip()
		x, err := p.or(depth + 1)
		if err != nil {
			return nil, err
		}
		if p.at == len(p.src) {
			return nil, p.fail(start, "this parenthesis is not closed", "")
		}
		p.at++
		p.skip()
		return x, nil
	}
	if p.terms++; p.terms > maxTerms/2 {
		return nil, p.fail(start, fmt.Sprintf("it has more than %d terms", maxTerms/2), "")
	}
	x, err := p.term()
	p.skip()
	return x, err
}

// minus steps over a minus that stands before a term.
func (p *parser) minus() bool {
	if p.src[p.at] != '-' || p.at+1 == len(p.src) || isEnd(rune(p.src[p.at+1])) {
		return false
	}
	p.at++
	return true
}

// isEnd tells whether a word without quotes ends before r.
func isEnd(r rune) bool { return r == ')' || unicode.IsSpace(r) }

// value is a piece of what people write: quoted or not, with a star behind it or not.
type value struct {
	text   string
	quoted bool
	star   bool
}

// read reads a value up to a space, a parenthesis or, if that is asked for, a colon.
func (p *parser) read(colon bool) (value, error) {
	start := p.at
	if p.at < len(p.src) && p.src[p.at] == '"' {
		return p.readQuoted()
	}
	n := strings.IndexFunc(p.src[start:], func(r rune) bool {
		return isEnd(r) || r == '(' || r == '"' || r == '\\' || colon && r == ':'
	})
	if n < 0 {
		n = len(p.src) - start
	}
	p.at += n
	v := value{text: p.src[start:p.at]}
	if p.at < len(p.src) && (p.src[p.at] == '"' || p.src[p.at] == '(' || p.src[p.at] == '\\') {
		return v, p.fail(p.at, fmt.Sprintf("%q in the middle of a word", p.src[p.at]), "put the whole value in double quotes")
	}
	if colon && p.at < len(p.src) && p.src[p.at] == ':' {
		return v, nil
	}
	v.text, v.star = strings.CutSuffix(v.text, "*")
	if strings.Contains(v.text, "*") {
		return v, p.fail(start, "* stands for any rest and at the end only", `put a value with * in quotes: "a*b"`)
	}
	return v, nil
}

func (p *parser) readQuoted() (value, error) {
	start := p.at
	var out strings.Builder
	for p.at++; p.at < len(p.src); p.at++ {
		switch c := p.src[p.at]; c {
		case '"':
			p.at++
			v := value{text: out.String(), quoted: true}
			if p.at < len(p.src) && p.src[p.at] == '*' {
				p.at++
				v.star = true
			}
			if r, _ := utf8.DecodeRuneInString(p.src[p.at:]); p.at < len(p.src) && !isEnd(r) {
				return v, p.fail(p.at, "something stands right behind a closing quote", "put a space between")
			}
			return v, nil
		case '\\':
			if p.at++; p.at == len(p.src) {
				return value{}, p.fail(start, "this quote is not closed", "")
			}
			fallthrough
		default:
			out.WriteByte(p.src[p.at])
		}
	}
	return value{}, p.fail(start, "this quote is not closed", "")
}

// term reads field:value or a text.
func (p *parser) term() (Expr, error) {
	start := p.at
	v, err := p.read(true)
	if err != nil {
		return nil, err
	}
	if v.quoted || p.at == len(p.src) || p.src[p.at] != ':' {
		if v.star {
			return nil, p.fail(start, "* behind a text", "a text is found anywhere; leave the * out, or put it in quotes")
		}
		if err := checkText(v.text); err != nil {
			return nil, p.fail(start, err.Error(), "")
		}
		if n := strings.IndexAny(v.text, "<>="); !v.quoted && n >= 0 && (n == 0 || FieldNamed(strings.ToLower(v.text[:n])) != None) {
			return nil, p.fail(start+n, "a comparison without a colon", "write field:value, such as outcome:denied or status:>=500, or put the text in quotes")
		}
		return Text{v.text}, nil
	}
	f := FieldNamed(strings.ToLower(v.text))
	if f == None {
		return nil, p.fail(start, "there is no field "+quoted(v.text), "choose one of "+fieldNames()+", or put the text in quotes")
	}
	p.at++
	if f.IsNumber() {
		return p.number(f)
	}
	return p.compare(f)
}

func fieldNames() string {
	var out []string
	for _, f := range Fields() {
		out = append(out, f.String())
	}
	return strings.Join(out, ", ")
}

func (p *parser) compare(f Field) (Expr, error) {
	start := p.at
	v, err := p.read(false)
	if err != nil {
		return nil, err
	}
	switch {
	case v.text == "" && !v.quoted && !v.star:
		return nil, p.fail(start, fmt.Sprintf("a value of %s is missing", f), fmt.Sprintf(`write %s:* for any, %s:"" for none`, f, f))
	case !v.quoted && strings.ContainsAny(v.text[:min(1, len(v.text))], "<>="):
		return nil, p.fail(start, fmt.Sprintf("%s is text and has no order", f), "put the value in quotes if it begins so")
	case v.star:
		if err := f.acceptsPrefix(v.text); err != nil {
			return nil, p.fail(start, err.Error(), "")
		}
		return Prefix{f, v.text}, nil
	}
	if err := f.accepts(v.text); err != nil {
		return nil, p.fail(start, err.Error(), "")
	}
	return Is{f, v.text}, nil
}

func (p *parser) number(f Field) (Expr, error) {
	start := p.at
	v, err := p.read(false)
	if err != nil {
		return nil, err
	}
	x := Number{Field: f}
	text := v.text
	for _, o := range []Op{AtMost, AtLeast, Less, More} { // the longer ones first
		if rest, ok := strings.CutPrefix(text, o.String()); ok && !v.quoted {
			x.Op, text = o, rest
			break
		}
	}
	var form string
	switch f {
	case Time:
		x.Value, err = parseTime(text)
		form = "a day such as 2026-11-22 or a time such as 2026-11-22T10:30:00Z"
	case Duration:
		var d time.Duration
		d, err = time.ParseDuration(text)
		x.Value, form = int64(d), "a duration such as 250ms or 1.5s"
	default:
		x.Value, err = strconv.ParseInt(text, 10, 32)
		form = "a number such as 404"
	}
	if err != nil || v.star {
		return nil, p.fail(start, quoted(v.text)+" is no "+f.String(), "write "+form+", after <, <=, > or >= to compare")
	}
	return x, nil
}

// parseTime reads a day, which begins at midnight UTC, or a time (RFC 3339).
func parseTime(s string) (int64, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		t, err = time.Parse(instant, s)
	}
	if err != nil {
		return 0, err
	}
	return nanos(t), nil
}

// quoted is a value in a message, not longer than somebody wants to read.
func quoted(s string) string {
	const most = 64
	if len(s) > most {
		return strconv.Quote(s[:most]) + "..."
	}
	return strconv.Quote(s)
}
