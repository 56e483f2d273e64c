package console

import (
	"fmt"
	"slices"
	"time"

	"github.com/palisade-security/palisade/store/query"
)

// The picture of a chart, in its own units.
const (
	chartWidth  = 960
	chartHeight = 150
)

// chart is counts over time as stacked bars.
type chart struct {
	Width, Height int
	Most          int64 // of a step, which is as high as the chart
	Total         int64
	Words         string // what it shows, for those who do not see it
	Bars          []bar
	Marks         []mark
	Legend        []part
}

type bar struct {
	X, Y, W, H float64
	Class      string
	Words      string
}

type mark struct {
	X     float64
	Words string
}

type part struct {
	Class, Words string
	Total        int64
}

// outcomes are stacked in this order, from below.
func outcomes() []string {
	return []string{query.Allowed, query.DryRun, query.Denied, query.Error}
}

// chartOf makes the chart of a series that was counted by outcome.
func chartOf(s *query.Series) *chart {
	c := &chart{Width: chartWidth, Height: chartHeight}
	totals := map[string]int64{}
	for i, n := range s.All {
		c.Total += n
		c.Most = max(c.Most, n)
		for _, l := range s.By {
			totals[l.Value] += l.Counts[i]
		}
	}
	known := outcomes()
	slices.SortStableFunc(s.By, func(a, b query.Line) int { return rankOf(known, a.Value) - rankOf(known, b.Value) })
	for _, l := range s.By {
		c.Legend = append(c.Legend, part{classOf(l.Value), l.Value, totals[l.Value]})
	}
	if len(s.All) == 0 {
		return c
	}
	c.Words = fmt.Sprintf("%d events from %s, at most %d in %s", c.Total, s.From.Format("2006-01-02 15:04 MST"), c.Most, shortTime(s.Step))
	step, room := float64(chartWidth)/float64(len(s.All)), float64(chartHeight)
	for i := range s.All {
		y := room
		for _, l := range s.By {
			n := l.Counts[i]
			if n == 0 {
				continue
			}
			h := max(1, room*float64(n)/float64(c.Most))
			y -= h
			at := s.From.Add(time.Duration(i) * s.Step)
			c.Bars = append(c.Bars, bar{float64(i)*step + step*0.08, max(0, y), step * 0.84, h, classOf(l.Value), fmt.Sprintf("%s: %d %s", at.Format("2006-01-02 15:04:05"), n, l.Value)})
		}
	}
	for _, i := range []int{0, len(s.All) / 4, len(s.All) / 2, len(s.All) * 3 / 4} {
		at := s.From.Add(time.Duration(i) * s.Step)
		form := "15:04"
		if s.Step >= time.Hour {
			form = "01-02 15:04"
		}
		c.Marks = append(c.Marks, mark{float64(i) * step, at.Format(form)})
	}
	return c
}

func rankOf(known []string, v string) int {
	if i := slices.Index(known, v); i >= 0 {
		return i
	}
	return len(known)
}

// classOf is how an outcome looks.
func classOf(outcome string) string {
	switch outcome {
	case query.Allowed, "done":
		return "good"
	case query.Denied:
		return "denied"
	case query.Error, "failed":
		return "failed"
	case query.DryRun:
		return "dry"
	}
	return "other"
}
