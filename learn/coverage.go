package learn

import "time"

// Coverage is the time in which somebody was seen at work: nobody can be sure that what he did not do there he never does.
type Coverage struct {
	First, Last time.Time
	hours       [7 * 24]bool // of the week, UTC
	days        map[int64]struct{}
}

// fullDays is how many days it takes to see what happens once in four weeks.
const fullDays = 28

const day = 24 * time.Hour

// Mark notes that somebody was at work.
func (c *Coverage) Mark(at time.Time) {
	at = at.UTC()
	if c.First.IsZero() || at.Before(c.First) {
		c.First = at
	}
	if at.After(c.Last) {
		c.Last = at
	}
	c.hours[int(at.Weekday())*24+at.Hour()] = true
	if c.days == nil {
		c.days = map[int64]struct{}{}
	}
	if n := at.Unix() / int64(day/time.Second); len(c.days) < 10*fullDays {
		c.days[n] = struct{}{}
	}
}

// Hours is how many of the 168 hours of a week somebody was seen in.
func (c *Coverage) Hours() int {
	n := 0
	if c != nil {
		for _, seen := range c.hours {
			if seen {
				n++
			}
		}
	}
	return n
}

// Days is on how many days.
func (c *Coverage) Days() int {
	if c == nil {
		return 0
	}
	return len(c.days)
}

// Sure is the part of four weeks, hour by hour, in which a use would have been seen: 0 to 1.
func (c *Coverage) Sure() float64 {
	return float64(c.Hours()) / (7 * 24) * min(1, float64(c.Days())/fullDays)
}
