package segment_test

import (
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event/eventtest"
	"github.com/palisade-security/palisade/store/query"
	"github.com/palisade-security/palisade/store/segment"
)

// TestChart counts the events of a file of many pages over time, with bounds and steps that fall anywhere, and wants what
// counting each event by itself comes to.
func TestChart(t *testing.T) {
	const rows = 40_000 // pages of times have 16 Ki
	events := eventtest.New(3, start, time.Millisecond).Take(rows)
	memory := block(t, events)
	order, err := segment.Order([]segment.Chunk{memory})
	must(t, err)
	dir := t.TempDir()
	info, err := segment.Write(dir, "a.parquet", []segment.Chunk{memory}, order)
	must(t, err)
	file, err := segment.Open(dir, info)
	must(t, err)
	defer func() { must(t, file.Close()) }()

	r := rand.New(rand.NewPCG(7, 7))
	wheres := []query.Expr{nil, query.Is{Field: query.Outcome, Value: query.Denied}, query.Is{Field: query.Service, Value: "payments"}}
	for range 20 {
		from := time.Duration(r.IntN(30_000)) * time.Millisecond
		q := query.Query{From: start.Add(from), To: start.Add(from + time.Duration(1+r.IntN(45_000))*time.Millisecond), Where: wheres[r.IntN(len(wheres))]}
		step := time.Duration(50+r.IntN(20_000)) * time.Millisecond
		by := []query.Field{query.None, query.Service, query.Outcome, query.Status, query.Path}[r.IntN(5)]
		grid, err := query.NewGrid(&q, step)
		must(t, err)
		want := query.NewChart(grid)
		for _, e := range events {
			if !q.Match(e) {
				continue
			}
			at := grid.At(query.NumberOf(e, query.Time))
			want.Add(at, 1)
			if by != query.None {
				must(t, want.AddTo(query.TextOf(e, by), at, 1))
			}
		}
		for _, chunks := range [][]segment.Chunk{{memory}, file.Chunks()} {
			got := query.NewChart(grid)
			for _, c := range chunks {
				set, err := segment.Select(c, &q)
				must(t, err)
				must(t, segment.Chart(c, set, by, got))
			}
			if a, b := got.Series(100), want.Series(100); !reflect.DeepEqual(a, b) {
				t.Fatalf("%v by %s in steps of %s: %v, want %v", q, by, step, a, b)
			}
		}
	}
}
