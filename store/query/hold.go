package query

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Hold keeps events from being deleted for their age until it is released: those that are there and those that come.
type Hold struct {
	Name   string    `json:"name"`
	Query  string    `json:"query,omitempty"` // as Parse reads it; empty: all of the time
	From   time.Time `json:"from,omitzero"`   // events from this time on; zero: no bound
	To     time.Time `json:"to,omitzero"`     // and before that
	Reason string    `json:"reason,omitempty"`
	By     string    `json:"by"` // who placed it
	Placed time.Time `json:"placed"`
}

// What a store says of holds.
var (
	ErrHeld   = errors.New("a hold of that name stands already; release it first, or choose another name")
	ErrNoHold = errors.New("no hold of that name stands")
)

const (
	maxHoldName   = 64
	maxHoldReason = 1 << 10
)

// Meant returns which events are held. The error says what is wrong with the hold.
func (h *Hold) Meant() (Query, error) {
	q := Query{From: h.From, To: h.To}
	if h.Name == "" || len(h.Name) > maxHoldName || strings.ContainsFunc(h.Name, notInHoldName) {
		return q, fmt.Errorf("the name of a hold is 1 to %d of a-z, 0-9, '-', '_' and '.', such as case-2026-17; found %q", maxHoldName, h.Name[:min(len(h.Name), maxHoldName)])
	}
	if len(h.Reason) > maxHoldReason {
		return q, fmt.Errorf("the reason has %d bytes, more than %d", len(h.Reason), maxHoldReason)
	}
	if err := checkValue(h.Reason); err != nil {
		return q, fmt.Errorf("the reason of a hold: %w", err)
	}
	var err error
	if q.Where, err = Parse(h.Query); err != nil {
		return q, err
	}
	if q.Where == nil && h.From.IsZero() && h.To.IsZero() {
		return q, errors.New("say what is held: a query such as user:alice, or a time")
	}
	return q, q.Validate()
}

func notInHoldName(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("-_.", r)
}

// Scope says which events are held, for people.
func (h *Hold) Scope() string {
	var parts []string
	if h.Query != "" {
		parts = append(parts, h.Query)
	}
	if !h.From.IsZero() {
		parts = append(parts, "from "+h.From.UTC().Format(time.RFC3339))
	}
	if !h.To.IsZero() {
		parts = append(parts, "before "+h.To.UTC().Format(time.RFC3339))
	}
	return strings.Join(parts, " ")
}

// Longer keeps events of some queries longer than their class is kept.
type Longer struct {
	Where Expr
	Keep  time.Duration
}
