package main

import (
	"math"
	"slices"
	"testing"
)

// TestAxis: every value has its place between both ends, whatever it is.
func TestAxis(t *testing.T) {
	for _, c := range []struct {
		values, ticks []float64
		powers        bool
		at            []float64
	}{
		{values: []float64{100, 1000, 50}, ticks: []float64{0, 1000}, at: []float64{0.1, 1, 0.05}},
		{values: []float64{100, 1000, 10}, powers: true, ticks: []float64{10, 100, 1000}, at: []float64{0.5, 1, 0}},
		{values: []float64{0, 0.1, 10}, powers: true, ticks: []float64{0.1, 1, 10}, at: []float64{0, 0, 1}},
		{values: []float64{1}, powers: true, ticks: []float64{1, 10}, at: []float64{0}},
		{values: []float64{0}, powers: true, at: []float64{0}},
		{},
	} {
		a := axisOf(c.values, c.powers)
		if !slices.Equal(a.ticks, c.ticks) {
			t.Errorf("%v: ticks at %v, want %v", c.values, a.ticks, c.ticks)
		}
		for i, v := range c.values {
			if got := a.at(v); math.Abs(got-c.at[i]) > 1e-9 {
				t.Errorf("%v of %v is at %v, want %v", v, c.values, got, c.at[i])
			}
		}
	}
}
