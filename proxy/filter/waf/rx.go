package waf

import (
	"fmt"
	"regexp"
	"strconv"
	"unicode/utf8"

	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
	"rsc.io/binaryregexp"
)

// rx is the operator @rx with the outcome of Coraza's own and less work. A value that lacks a character no match
// can do without is not searched at all, and what a match captured is only asked for where there is one: of the
// values that a request has, hardly any matches.
//
// Coraza has such a filter too (SecRxPreFilter). It misses attacks of the rule set's suite, so it stays off.
type rx struct {
	expression expression
	needs      needs
}

// expression is what the two regular expression packages have in common.
type expression interface {
	MatchString(s string) bool
	FindStringSubmatchIndex(s string) []int
}

// maxCaptures is how many groups of a match rules can refer to, the whole match included.
const maxCaptures = 9

// newRx compiles an expression, once for all engines that hold it. As in Coraza, one that names bytes which are
// no UTF-8 is matched against bytes, any other against runes, "." matching line ends and "^" and "$" at lines.
func newRx(o plugintypes.OperatorOptions) (plugintypes.Operator, error) {
	compile := func() (any, error) {
		if namesBytes(o.Arguments) {
			e, err := binaryregexp.Compile(o.Arguments)
			return &rx{e, needsOf(o.Arguments)}, err
		}
		text := "(?sm)" + o.Arguments
		e, err := regexp.Compile(text)
		return &rx{e, needsOf(text)}, err
	}
	if o.Memoizer == nil {
		return built(compile())
	}
	return built(o.Memoizer.Do("palisade.rx:"+o.Arguments, compile))
}

func built(made any, err error) (plugintypes.Operator, error) {
	if err != nil {
		return nil, fmt.Errorf("compiling a regular expression: %w", err)
	}
	return made.(*rx), nil
}

// Evaluate implements plugintypes.Operator.
func (o *rx) Evaluate(tx plugintypes.TransactionState, value string) bool {
	if !o.needs.metBy(charsOf(value)) || !o.expression.MatchString(value) {
		return false
	}
	if tx.Capturing() {
		capture(tx, value, o.expression.FindStringSubmatchIndex(value))
	}
	return true
}

// capture hands over the groups of a match, whose begins and ends are in pairs; -1 is a group that took no part.
func capture(tx plugintypes.TransactionState, value string, pairs []int) {
	for i := range min(len(pairs)/2, maxCaptures) {
		group := ""
		if begin, end := pairs[2*i], pairs[2*i+1]; begin >= 0 {
			group = value[begin:end]
		}
		tx.CaptureField(i, group)
	}
}

var byteEscape = regexp.MustCompile(`\\x(?:\{([[:xdigit:]]{2})[[:xdigit:]]*\}|([[:xdigit:]]{2}))`)

// namesBytes reports whether an expression, with its hexadecimal escapes taken for bytes, is no UTF-8.
func namesBytes(expression string) bool {
	raw := byteEscape.ReplaceAllStringFunc(expression, func(escape string) string {
		m := byteEscape.FindStringSubmatch(escape)
		b, err := strconv.ParseUint(m[1]+m[2], 16, 8)
		if err != nil {
			return escape
		}
		return string([]byte{byte(b)})
	})
	return !utf8.ValidString(raw)
}
