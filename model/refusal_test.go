package model

import (
	"errors"
	"strings"
	"testing"
)

// TestRefusal: what a record holds of a refused model is one line, without the lines of the file.
func TestRefusal(t *testing.T) {
	at := Position{File: "palisade.yaml", Line: 7, Column: 3}
	warning := Finding{Severity: Warning, Code: "no-effect", Position: at, Text: "a warning"}
	first := Finding{Severity: Error, Code: "policy", Position: at, Key: "policies", Text: "cannot be read:\n\texpected ;", Hint: "add it"}
	refused := errors.New("refused")
	for want, findings := range map[string][]Finding{
		"refused": {warning},
		"palisade.yaml:7:3: error: policies: cannot be read: expected ; [policy]":              {warning, first},
		"palisade.yaml:7:3: error: policies: cannot be read: expected ; [policy] (and 2 more)": {warning, first, warning, first, first},
	} {
		if got := Refusal(refused, findings).Error(); got != want || strings.Contains(got, "\n") {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
