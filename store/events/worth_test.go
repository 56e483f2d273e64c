package events

import (
	"slices"
	"testing"
)

// TestWorth wants what grows by seals to be written again seldom, and little to be left beside what is large.
func TestWorth(t *testing.T) {
	for _, c := range []struct{ rows, want []int64 }{
		{nil, nil},
		{[]int64{5}, nil},
		{[]int64{5, 5}, []int64{5, 5}},
		{[]int64{8, 1}, nil},
		{[]int64{8, 1, 1}, []int64{1, 1}},
		{[]int64{1, 20, 20, 20}, []int64{1, 20, 20, 20}},
		{[]int64{60, 50, 1}, nil}, // together they are too many, and 50 is more than 1
	} {
		var all []*sealed
		for _, n := range c.rows {
			one := &sealed{}
			one.Rows = n
			all = append(all, one)
		}
		var got []int64
		for _, one := range worth(all, 100) {
			got = append(got, one.Rows)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("of %v: %v, want %v", c.rows, got, c.want)
		}
	}
	// A thousand seals of a day: every event is written about as often as its segment has doubled.
	var all []*sealed
	written := int64(0)
	for range 1000 {
		one := &sealed{}
		one.Rows = 1
		all = append(all, one)
		if old := worth(all, 1<<20); len(old) > 0 {
			whole := &sealed{}
			for _, o := range old {
				whole.Rows += o.Rows
			}
			written += whole.Rows
			all = append(slices.Clone(all[len(old):]), whole)
		}
	}
	if written > 1000*11 || len(all) > 11 {
		t.Errorf("%d events written for 1000, %d segments", written, len(all))
	}
}
