package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// moment is a point in time as people give it: how long ago it was, or a date.
type moment struct{ time.Time }

// UnmarshalText reads 90m, 36h or 7d ago, 2026-11-22, or a time in RFC 3339.
func (m *moment) UnmarshalText(b []byte) error {
	text := string(b)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			m.Time = time.Now().AddDate(0, 0, -int(n))
			return nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		m.Time = time.Now().Add(-d)
		return nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateTime, time.DateOnly} {
		if at, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			m.Time = at
			return nil
		}
	}
	return fmt.Errorf("%q is no time; write how long ago, such as 90m, 36h or 7d, or a date, such as 2026-11-22 or 2026-11-22T10:30:00Z", text)
}

// step is a length of time as people give it.
type step struct{ time.Duration }

// UnmarshalText reads 30s, 5m, 1h or 1d.
func (s *step) UnmarshalText(b []byte) error {
	text := string(b)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil && n > 0 {
			s.Duration = time.Duration(n) * 24 * time.Hour
			return nil
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return fmt.Errorf("%q is no length of time; write 1m, 1h or 1d", text)
	}
	s.Duration = d
	return nil
}
