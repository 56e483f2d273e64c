// Package httpdate makes values of the Date field (RFC 9110, section 6.6.1) for servers that need one for each answer. It
// parses none.
package httpdate

import (
	"net/http"
	"sync/atomic"
	"time"
)

// Cache is a value that is made once a second. It is safe for concurrent use; the zero value is ready.
type Cache struct{ last atomic.Pointer[dated] }

type dated struct {
	second int64
	text   string
}

// At returns the value for now.
func (c *Cache) At(now time.Time) string {
	last := c.last.Load()
	if second := now.Unix(); last == nil || last.second != second {
		last = &dated{second, now.UTC().Format(http.TimeFormat)}
		c.last.Store(last)
	}
	return last.text
}
