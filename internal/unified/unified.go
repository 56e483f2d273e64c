// Package unified writes the difference of two texts as a patch that "patch -p1" applies. It is for files of people, of some
// thousand lines that are mostly the same, not for large or binary ones.
package unified

import (
	"fmt"
	"slices"
	"strings"
)

// context is how many equal lines are shown around a change.
const context = 3

// Diff returns the patch from one text to another of a file of that name, "" if they are the same. The name has slashes and
// no prefix.
func Diff(name, before, after string) string {
	if before == after {
		return ""
	}
	a, b := lines(before), lines(after)
	keep := common(a, b)
	var out strings.Builder
	fmt.Fprintf(&out, "--- a/%s\n+++ b/%s\n", name, name)
	for i := 0; i < len(keep)-1; {
		// A hunk goes on while fewer equal lines than twice the context lie between two changes.
		next := i + 1
		if !changes(keep, i) {
			i++
			continue
		}
		for next < len(keep)-1 && (changes(keep, next) || near(keep, next)) {
			next++
		}
		hunk(&out, a, b, keep[i:next+1])
		i = next
	}
	return out.String()
}

// pair is a line of both texts that is the same. The first one lies before both, the last one behind.
type pair struct{ a, b int }

// changes reports whether lines differ between a pair and the next.
func changes(keep []pair, i int) bool {
	return keep[i+1].a != keep[i].a+1 || keep[i+1].b != keep[i].b+1
}

// near reports whether lines change again soon behind a pair.
func near(keep []pair, i int) bool {
	for j := i; j < len(keep)-1 && j < i+2*context; j++ {
		if changes(keep, j) {
			return true
		}
	}
	return false
}

// hunk writes what is between the first and the last of pairs, with the equal lines around it.
func hunk(out *strings.Builder, a, b []string, keep []pair) {
	first, last := keep[0], keep[len(keep)-1]
	lead := min(context, first.a+1, first.b+1)
	trail := min(context, len(a)-last.a, len(b)-last.b)
	fromA, fromB := first.a+1-lead, first.b+1-lead
	toA, toB := last.a+trail, last.b+trail
	fmt.Fprintf(out, "@@ -%s +%s @@\n", span(fromA, toA), span(fromB, toB))
	for i := fromA; i <= first.a; i++ {
		write(out, ' ', a[i])
	}
	for i := range len(keep) - 1 {
		for n := keep[i].a + 1; n < keep[i+1].a; n++ {
			write(out, '-', a[n])
		}
		for n := keep[i].b + 1; n < keep[i+1].b; n++ {
			write(out, '+', b[n])
		}
		if i+1 < len(keep)-1 {
			write(out, ' ', a[keep[i+1].a])
		}
	}
	for i := last.a; i < toA; i++ {
		write(out, ' ', a[i])
	}
}

func span(from, to int) string {
	if to == from {
		return fmt.Sprintf("%d,0", from)
	}
	return fmt.Sprintf("%d,%d", from+1, to-from)
}

func write(out *strings.Builder, mark byte, line string) {
	out.WriteByte(mark)
	out.WriteString(line)
	if !strings.HasSuffix(line, "\n") {
		out.WriteString("\n\\ No newline at end of file\n")
	}
}

// lines splits a text behind its line ends.
func lines(s string) []string {
	if s == "" {
		return nil
	}
	out := strings.SplitAfter(s, "\n")
	if out[len(out)-1] == "" {
		out = out[:len(out)-1]
	}
	return out
}

// common is a longest list of lines that both have in the same order, between two pairs that stand for begin and end.
func common(a, b []string) []pair {
	head := 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	keep := []pair{{-1, -1}}
	for i := range head {
		keep = append(keep, pair{i, i})
	}
	keep = append(keep, longest(a[head:len(a)-tail], b[head:len(b)-tail], head)...)
	for i := tail; i > 0; i-- {
		keep = append(keep, pair{len(a) - i, len(b) - i})
	}
	return append(keep, pair{len(a), len(b)})
}

// longest fills the table of lengths; what differs of a model's file is small.
func longest(a, b []string, offset int) (keep []pair) {
	table := make([][]int32, len(a)+1)
	for i := range table {
		table[i] = make([]int32, len(b)+1)
	}
	for i, line := range slices.Backward(a) {
		for j := len(b) - 1; j >= 0; j-- {
			if line == b[j] {
				table[i][j] = table[i+1][j+1] + 1
			} else {
				table[i][j] = max(table[i+1][j], table[i][j+1])
			}
		}
	}
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch {
		case a[i] == b[j]:
			keep = append(keep, pair{offset + i, offset + j})
			i, j = i+1, j+1
		case table[i+1][j] >= table[i][j+1]:
			i++
		default:
			j++
		}
	}
	return keep
}
