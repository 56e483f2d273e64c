package segment

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event/eventtest"
	"github.com/palisade-security/palisade/store/query"
)

// TestGrams: what a column says is never denied, whole or in part and in whatever case, and of what it does not say most is.
func TestGrams(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 100, 20_000} {
		g := newGrams()
		texts := make([]string, n)
		for i := range texts {
			texts[i] = fmt.Sprintf("Ünï user-%x said %x", r.IntN(1<<30), r.IntN(1<<30))
			g.add(3, texts[i])
		}
		g = g.folded()
		if !g.valid() || len(g) == gramsMost {
			t.Fatalf("%d bytes for %d texts", len(g), n)
		}
		for _, s := range texts {
			all := []rune(s)
			from := r.IntN(len(all))
			if part := query.Fold(string(all[from : from+r.IntN(len(all)-from)])); !g.may(3, part) || !g.may(3, query.Fold(s)) {
				t.Fatalf("%q is denied of %q", part, s)
			}
		}
		wrong := 0
		for i := range 1000 {
			if g.may(3, fmt.Sprintf("not-%d-there", i)) {
				wrong++
			}
			if g.may(2, "user-") && n <= 100 {
				t.Fatal("what one column says is taken for another's")
			}
		}
		if wrong > 50 {
			t.Errorf("%d texts: %d of 1000 that are not there seem to be", n, wrong)
		}
	}
}

// TestSaid: columns of a file that do not say what is looked for are not read, and what is found is what is found in memory.
func TestSaid(t *testing.T) {
	begin := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	fleet := eventtest.New(1, begin, time.Millisecond)
	b := NewBlock(0)
	b.Append(NewBatch(append(fleet.Take(3000), fleet.Logs(300)...)), 1)
	view, dir := b.View(), t.TempDir()
	rows, err := Order([]Chunk{view})
	if err != nil {
		t.Fatal(err)
	}
	info, err := Write(dir, "a.parquet", []Chunk{view}, rows)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(dir, info)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	for _, words := range []string{"user-7", "USER-77", "chrome", "pay", "policy", "203.0.", strings.Repeat("never", 3)} {
		q := &query.Query{Where: query.Text{Words: words}}
		want, err := Select(view, q)
		if err != nil {
			t.Fatal(err)
		}
		read := &reads{group: s.groups[0]}
		got, err := Select(read, q)
		if err != nil {
			t.Fatal(err)
		}
		if got.Len() != want.Len() {
			t.Errorf("%q: %d events, want %d", words, got.Len(), want.Len())
		}
		if want.Len() == 0 && read.columns > 0 {
			t.Errorf("%q: %d columns are read", words, read.columns)
		}
	}
}

// reads counts the columns that are read of a row group.
type reads struct {
	*group
	columns int
}

func (r *reads) load(c int) (*series, error) {
	r.columns++
	return r.group.load(c)
}
