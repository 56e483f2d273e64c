package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// ago is a time back from now: 90m, 24h, or in days and weeks, 7d, 4w.
type ago time.Duration

// UnmarshalText reads it. Days have 24 hours.
func (a *ago) UnmarshalText(text []byte) error {
	s := string(text)
	for unit, of := range map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour} {
		if digits, ok := strings.CutSuffix(s, unit); ok {
			n, err := strconv.ParseUint(digits, 10, 16)
			if err != nil || time.Duration(n) > maxAgo/of {
				return fmt.Errorf("%q is no time back from now; write 90m, 24h, 7d or 4w", s)
			}
			*a = ago(time.Duration(n) * of)
			return nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return fmt.Errorf("%q is no time back from now; write 90m, 24h, 7d or 4w", s)
	}
	*a = ago(d)
	return nil
}

const maxAgo = time.Duration(1<<63 - 1)

// before is when that was; the zero time if nothing was said.
func (a ago) before(now time.Time) time.Time {
	if a == 0 {
		return time.Time{}
	}
	return now.Add(-time.Duration(a))
}
