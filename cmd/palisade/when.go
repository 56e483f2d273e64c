package main

import (
	"fmt"
	"time"

	"github.com/palisade-security/palisade/app"
)

// when is a time of which a map was kept, as people give it.
type when struct{ app.Span }

// UnmarshalText reads a date, which is that day; now, which is this hour and the 23 before it; or another moment, which is the hour that
// it lies in.
func (w *when) UnmarshalText(b []byte) error {
	text := string(b)
	if text == "now" {
		end := time.Now().Truncate(time.Hour).Add(time.Hour)
		w.Span = app.Span{Since: end.Add(-24 * time.Hour), Until: end}
		return nil
	}
	if err := w.read(text); err != nil {
		return err
	}
	if w.Since.After(time.Now()) {
		return fmt.Errorf("%q lies in the future, of which no map is kept", text)
	}
	return nil
}

func (w *when) read(text string) error {
	if day, err := time.ParseInLocation(time.DateOnly, text, time.Local); err == nil {
		w.Span = app.Span{Since: day, Until: day.AddDate(0, 0, 1)}
		return nil
	}
	var m moment
	if err := m.UnmarshalText([]byte(text)); err != nil {
		return fmt.Errorf("%w, or now", err)
	}
	hour := m.Truncate(time.Hour)
	w.Span = app.Span{Since: hour, Until: hour.Add(time.Hour)}
	return nil
}
