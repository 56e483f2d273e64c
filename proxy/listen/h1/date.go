package h1

import (
	"net/http"
	"sync/atomic"
	"time"
)

// date is the value of the Date field, made once a second.
type date struct{ last atomic.Pointer[dated] }

type dated struct {
	second int64
	text   string
}

func (d *date) at(now time.Time) string {
	last := d.last.Load()
	if second := now.Unix(); last == nil || last.second != second {
		last = &dated{second, now.UTC().Format(http.TimeFormat)}
		d.last.Store(last)
	}
	return last.text
}
