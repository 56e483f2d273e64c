package waf

import (
	"io/fs"
	"math/rand/v2"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"testing"
	"unicode"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
)

func TestNeeds(t *testing.T) {
	for _, c := range []struct {
		expression, text string
		met              bool
	}{
		{`(?i)union\s+select`, "UNION all SELECT", true},
		{`(?i)union\s+select`, "unionselect", false},
		{`(?i)union\s+select`, "wool coat number 3", false},
		{`(?i)sleep\(`, "\u017fLEEP(", true},
		{`(?i)kill 1`, "\u212aill 1", true},
		{`(?i)\x{17f}x`, "sx", true},
		{"[^a-z]x", "\x80x", true},
		{`\xac\xed`, "\xac\xed", true},
		{`\xac\xed`, "ac ed", false},
		{`(?:abc|d[0-9])e`, "7de", true},
		{`(?:abc|d[0-9])e`, "bad e", false},
		{`(?:abc|x?)`, "", true},
		{`(?:ab){2}(?:cd){0,2}e*`, "abab", true},
		{`(?:ab){2}`, "a", false},
		{`[`, "", true},
	} {
		n := needsOf(c.expression)
		if got := n.metBy(charsOf(c.text)); got != c.met {
			t.Errorf("needs of %q met by %q: %t", c.expression, c.text, got)
		}
	}
}

// TestNeedsOfRuleSet makes texts that the expressions of the rule set match, but for what they say of the place of
// a match, and proves that each of them would be searched.
func TestNeedsOfRuleSet(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2)) // repeatable
	expressions := ruleSetExpressions(t)
	if len(expressions) < 300 {
		t.Fatalf("%d expressions found", len(expressions))
	}
	for _, text := range expressions {
		parsed, err := syntax.Parse("(?sm)"+text, syntax.Perl)
		if err != nil {
			t.Fatal(err)
		}
		n := needsOf(text)
		for range 200 {
			var b strings.Builder
			write(&b, parsed, random)
			if !n.metBy(charsOf(b.String())) {
				t.Fatalf("needs of %q not met by its match %q", text, b.String())
			}
		}
	}
}

func ruleSetExpressions(tb testing.TB) []string {
	tb.Helper()
	operator := regexp.MustCompile(`"!?@rx ((?:[^"\\]|\\.)*)"`)
	names, err := fs.Glob(coreruleset.FS, "@owasp_crs/*.conf")
	if err != nil {
		tb.Fatal(err)
	}
	var out []string
	for _, name := range names {
		text, err := fs.ReadFile(coreruleset.FS, name)
		if err != nil {
			tb.Fatal(err)
		}
		for directive := range logicalLines(string(text)) {
			if m := operator.FindStringSubmatch(directive); m != nil {
				out = append(out, strings.ReplaceAll(m[1], `\"`, `"`))
			}
		}
	}
	return out
}

// write appends a text that e matches.
func write(b *strings.Builder, e *syntax.Regexp, random *rand.Rand) {
	repeat := func(from, to int) {
		for range from + random.IntN(to-from+1) {
			write(b, e.Sub[0], random)
		}
	}
	switch e.Op {
	case syntax.OpLiteral:
		for _, r := range e.Rune {
			for range random.IntN(4) {
				if e.Flags&syntax.FoldCase != 0 {
					r = unicode.SimpleFold(r)
				}
			}
			b.WriteRune(r)
		}
	case syntax.OpCharClass:
		i := 2 * random.IntN(len(e.Rune)/2)
		b.WriteRune(e.Rune[i] + random.Int32N(e.Rune[i+1]-e.Rune[i]+1))
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		b.WriteByte('.')
	case syntax.OpCapture, syntax.OpConcat:
		for _, sub := range e.Sub {
			write(b, sub, random)
		}
	case syntax.OpAlternate:
		write(b, e.Sub[random.IntN(len(e.Sub))], random)
	case syntax.OpPlus:
		repeat(1, 2)
	case syntax.OpStar:
		repeat(0, 2)
	case syntax.OpQuest:
		repeat(0, 1)
	case syntax.OpRepeat:
		repeat(e.Min, max(e.Min, min(e.Max, e.Min+1)))
	default: // places
	}
}

// captured is a transaction that captures.
type captured struct {
	plugintypes.TransactionState
	groups []string
}

func (*captured) Capturing() bool { return true }

func (c *captured) CaptureField(i int, value string) {
	if i == len(c.groups) {
		c.groups = append(c.groups, value)
	}
}

func TestRx(t *testing.T) {
	for _, c := range []struct {
		expression, text string
		groups           []string // none: no match
	}{
		{`(a)(x)?(b)`, "-ab-", []string{"ab", "a", "", "b"}},
		{`(a)(x)?(b)`, "-ba-", nil},
		{`^b.c$`, "a\nb\nc\nd", []string{"b\nc"}},
		{`(1)(2)(3)(4)(5)(6)(7)(8)(9)`, "123456789", []string{"123456789", "1", "2", "3", "4", "5", "6", "7", "8"}},
		{`(\xac)\xed`, "-\xac\xed", []string{"\xac\xed", "\xac"}},
		{`\x{bc}`, "\u00bc", []string{"\xbc"}},
		{`\xc2\xb4`, "\u00c2\u00b4", []string{"\u00c2\u00b4"}},
	} {
		op, err := newRx(plugintypes.OperatorOptions{Arguments: c.expression})
		if err != nil {
			t.Fatal(err)
		}
		tx := &captured{}
		if got := op.Evaluate(tx, c.text); got != (c.groups != nil) || !slices.Equal(tx.groups, c.groups) {
			t.Errorf("%q matched %q: %t, captured %q, want %q", c.expression, c.text, got, tx.groups, c.groups)
		}
	}
	if _, err := newRx(plugintypes.OperatorOptions{Arguments: "("}); err == nil {
		t.Error("an expression that does not parse was taken")
	}
}

// FuzzNeeds proves that no text in which an expression finds something goes unsearched.
func FuzzNeeds(f *testing.F) {
	f.Add(`(?i)(?:ks|[^a-y]{2,}|x*y+)z`, "\u212a\u017fZ")
	f.Add(`(a|b[c-e]|)\b.\xff`, "b\u00ff")
	f.Add(`[\x{fffd}]`, "\x80")
	f.Fuzz(func(t *testing.T, expression, text string) {
		e, err := regexp.Compile(expression)
		if err != nil {
			return
		}
		if n := needsOf(expression); e.MatchString(text) && !n.metBy(charsOf(text)) {
			t.Errorf("%q finds something in %q, which it would not search", expression, text)
		}
	})
}
