package intake

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// moment reads a time as logs have it: RFC 3339, the same with a space or a comma for the fraction, or a number since 1970. Without
// a zone it is UTC.
func moment(text string) (time.Time, bool) {
	text = strings.TrimSpace(text)
	if n, err := strconv.ParseFloat(text, 64); err == nil {
		return since1970(text, n)
	}
	if len(text) > 10 && text[10] == ' ' {
		text = text[:10] + "T" + text[11:]
	}
	text = strings.Replace(text, ",", ".", 1)
	text = strings.Replace(text, " ", "", 1) // before the zone
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z0700", "2006-01-02T15:04:05.999999999"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

// since1970 reads seconds, milli-, micro- or nanoseconds: which of them shows in the size, for times from 1973 to 2286.
func since1970(text string, n float64) (time.Time, bool) {
	if math.IsNaN(n) || n < 1e8 || n >= 1e19 {
		return time.Time{}, false
	}
	unit := time.Second
	for n >= 1e10 && unit > 1 {
		n /= 1e3
		unit /= 1e3
	}
	if whole, err := strconv.ParseInt(text, 10, 64); err == nil { // exact
		per := int64(time.Second / unit)
		return time.Unix(whole/per, whole%per*int64(unit)).UTC(), true
	}
	whole, part := math.Modf(n)
	if unit != time.Second || whole >= 1e10 {
		return time.Unix(int64(whole), int64(part*1e9)).UTC(), true
	}
	return time.Unix(int64(whole), int64(math.Round(part*1e6))*1e3).UTC(), true // as exact as such a number is
}
