package query_test

import (
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/store/query"
)

func TestHold(t *testing.T) {
	at := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	for want, h := range map[string]query.Hold{
		"":                    {Name: "case-1.b_c", Query: "user:alice", Reason: "a lawsuit"},
		" ":                   {Name: "a", From: at},
		"the name":            {Name: "Case 1", Query: "user:alice"},
		"say what is held":    {Name: "a"},
		"no field":            {Name: "a", Query: "nobody:alice"},
		"before it begins":    {Name: "a", From: at, To: at.Add(-time.Hour)},
		"the reason has 2000": {Name: "a", Query: "user:alice", Reason: strings.Repeat("a", 2000)},
		"control characters":  {Name: "a", Query: "user:alice", Reason: "a\nb"},
	} {
		_, err := h.Meant()
		if ok := strings.TrimSpace(want) == ""; ok != (err == nil) || !ok && !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", h, err, want)
		}
	}
	if got := (&query.Hold{Query: "user:alice", From: at, To: at.Add(time.Hour)}).Scope(); got != "user:alice from 2026-11-22T09:00:00Z before 2026-11-22T10:00:00Z" {
		t.Error(got)
	}
}
