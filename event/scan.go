package event

import (
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// scan reads what object writes, in the same order and with the same names, and nothing else: whatever is different makes it
// fail, and Parse then reads the line as any JSON.
type scan struct {
	s      string
	i      int  // place in s
	inside bool // a member or element was read: a comma comes before the next
	failed bool
}

// done tells whether all was read, but for the end of the line.
func (p *scan) done() bool {
	return !p.failed && (p.i == len(p.s) || p.s[p.i:] == "\n")
}

// key reads the beginning of a member, up to its value, if that is the next; name is as object takes it. It also reads whole
// members that are always the same.
func (p *scan) key(name string) bool {
	i := p.i
	if p.inside {
		if i == len(p.s) || p.s[i] != ',' {
			return false
		}
		i++
	}
	if !strings.HasPrefix(p.s[i:], name) {
		return false
	}
	p.i, p.inside = i+len(name), true
	return true
}

// need is key for what is always there.
func (p *scan) need(name string) {
	if !p.key(name) {
		p.failed = true
	}
}

// nest begins an object or list that is there.
func (p *scan) nest(name string) bool {
	if !p.key(name) {
		return false
	}
	p.inside = false
	return true
}

// open is nest for what is always there.
func (p *scan) open(name string) {
	if !p.nest(name) {
		p.failed = true
	}
}

// end ends an object or list.
func (p *scan) end(c byte) {
	if p.i < len(p.s) && p.s[p.i] == c {
		p.i, p.inside = p.i+1, true
	} else {
		p.failed = true
	}
}

func (p *scan) close()   { p.end('}') }
func (p *scan) endList() { p.end(']') }

// more tells whether a list goes on.
func (p *scan) more() bool { return !p.failed && p.i < len(p.s) && p.s[p.i] != ']' }

// str reads a member that is a text, if it is there.
func (p *scan) str(name string, to *string) bool {
	if !p.key(name) {
		return false
	}
	*to = p.text()
	return true
}

// must reads a member that is a text.
func (p *scan) must(name string, to *string) {
	if !p.str(name, to) {
		p.failed = true
	}
}

// text reads the rest of a text, whose first quote was read.
func (p *scan) text() string {
	rest := p.s[p.i:]
	n := strings.IndexByte(rest, '"')
	if n < 0 {
		p.failed = true
		return ""
	}
	if isPlain(rest[:n]) {
		p.i += n + 1
		return rest[:n]
	}
	return p.odd(rest, n)
}

// odd reads a text that is not only plain ASCII, whose first quote that may be its end is at n.
func (p *scan) odd(rest string, n int) string {
	if strings.IndexByte(rest[:n], '\\') < 0 && utf8.ValidString(rest[:n]) && !controls(rest[:n]) {
		p.i += n + 1
		return rest[:n]
	}
	for n = 0; n < len(rest) && rest[n] != '"'; n++ {
		if rest[n] == '\\' {
			n++
		}
	}
	var out string
	if n >= len(rest) || json.Unmarshal([]byte(p.s[p.i-1:p.i+n+1]), &out) != nil {
		p.failed = true
		return ""
	}
	p.i += n + 1
	return out
}

// controls tells whether a text has a byte that must be escaped in JSON.
func controls(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' {
			return true
		}
	}
	return false
}

// num reads a member that is a number, if it is there.
func num[T ~int | ~int64](p *scan, name string, to *T) {
	if p.key(name) {
		*to = T(p.int())
	}
}

// exact reads a member that is a number.
func exact[T ~int | ~int64](p *scan, name string, to *T) {
	p.need(name)
	*to = T(p.int())
}

// maxDigits are so few that every number of them fits.
const maxDigits = 18

// int reads a number without fraction and exponent.
func (p *scan) int() int64 {
	negative := p.i < len(p.s) && p.s[p.i] == '-'
	if negative {
		p.i++
	}
	first, v := p.i, int64(0)
	for p.i < len(p.s) && p.s[p.i]-'0' <= 9 {
		v = v*10 + int64(p.s[p.i]-'0')
		p.i++
	}
	if n := p.i - first; n == 0 || n > maxDigits || n > 1 && p.s[first] == '0' {
		p.failed = true
	}
	if negative {
		return -v
	}
	return v
}

// skip reads members that are always there and say nothing of their own: a text, and a number.
func (p *scan) skip(name string) {
	var s string
	p.must(name, &s)
}

func (p *scan) skipNum(name string) {
	var v int64
	exact(p, name, &v)
}

// list reads the texts of a list that has begun.
func (p *scan) list() (out []string) {
	for ok := true; ok; ok = p.more() {
		var s string
		p.must(`"`, &s)
		out = append(out, s)
	}
	p.endList()
	return out
}

// members reads texts by name, of which there is at least one, and the end of their object.
func (p *scan) members() map[string]string {
	out := map[string]string{}
	for {
		var k, v string
		p.must(`"`, &k)
		p.inside = false
		p.must(`:"`, &v)
		if p.failed {
			return nil
		}
		out[k] = v
		if p.i < len(p.s) && p.s[p.i] == '}' {
			p.close()
			return out
		}
	}
}
