package segment

import (
	"encoding/json"
	"strings"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/store/query"
)

// words is how Text looks through a column.
type words uint8

const (
	silent  words = iota
	spoken        // the text itself
	headed        // values of headers, a JSON list of {"name":, "value":}
	trailed       // texts of the reasons of a trail
	valued        // values of a JSON object of texts
)

// in tells whether a value of a column says what is looked for.
func (w words) in(f query.Finder, v string) bool {
	switch {
	case w == spoken:
		return f.In(v)
	case v == "" || !f.In(v) && !escaped(v):
		return false
	}
	found := false
	w.texts(v, func(text string) bool {
		found = f.In(text)
		return !found
	})
	return found
}

// hear hands out texts in which all stands that a value of a column says, and maybe more.
func (w words) hear(v string, yield func(string)) {
	switch {
	case v == "":
	case w == spoken || !escaped(v):
		yield(v)
	default:
		w.texts(v, func(text string) bool {
			yield(text)
			return true
		})
	}
}

// escaped tells whether a JSON text may say something else than what stands in it.
func escaped(text string) bool { return strings.IndexByte(text, '\\') >= 0 }

// texts hands out what a value that is JSON says, until yield returns false.
func (w words) texts(v string, yield func(string) bool) {
	switch w {
	case headed:
		var all []event.Header
		if json.Unmarshal([]byte(v), &all) != nil {
			return
		}
		for _, h := range all {
			if !yield(h.Value) {
				return
			}
		}
	case trailed:
		var all []event.Stage
		if json.Unmarshal([]byte(v), &all) == nil {
			query.TrailTexts(all, yield)
		}
	case valued:
		var all map[string]string
		if json.Unmarshal([]byte(v), &all) == nil {
			query.AttributeTexts(all, yield)
		}
	case silent, spoken:
	}
}
