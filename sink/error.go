package sink

import (
	"errors"
	"fmt"
	"time"
)

// ErrTooLarge says that a server takes only smaller batches: the halves are sent. One record that is too large by itself
// is a dead letter.
var ErrTooLarge = errors.New("the server takes no batch as large")

// RefusedError says that a server will never take a batch as it is. Its halves are sent, until what is at fault is alone;
// that is a dead letter. It is not for what an operator can mend, such as a wrong token.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return "the server refuses it: " + e.Reason }

// BusyError says that a server wants the batch later.
type BusyError struct {
	After  time.Duration // what it asks for; 0: nothing
	Reason string
}

func (e *BusyError) Error() string { return "the server takes nothing now: " + e.Reason }

// PartialError says that a server has taken a part of a batch: what is in neither list. Both hold places in the batch, sorted.
type PartialError struct {
	Refused []Refused     // for good
	Unnamed int           // refused for good as well, and the server does not say which; they are counted, and no dead letters
	Again   []int         // later
	After   time.Duration // what the server asks for; 0: nothing; negative: it takes them at once
	Reason  string        // why some of it is to be sent again
}

// Refused is one record that a server will never take.
type Refused struct {
	At     int
	Reason string
}

func (e *PartialError) Error() string {
	return fmt.Sprintf("the server refuses %d events and wants %d later: %s", len(e.Refused)+e.Unnamed, len(e.Again), e.Reason)
}
