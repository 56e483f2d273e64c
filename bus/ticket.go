package bus

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

const (
	ticketTime   = 30 * time.Second // for the broker to ask
	ticketSpread = 5 * time.Second  // between the clocks of two sidecars
	maxTicket    = 4 << 10
	ticketSeal   = "palisade broker ticket\x00" // so that a signature on something else is none on a ticket
)

// ticket is what one says.
type ticket struct {
	ID    string `json:"id"`
	Until int64  `json:"until"` // seconds since 1970
}

var errTicket = errors.New("the ticket is not one of these keys")

// Ticket is what a broker's sidecar shows the broker in place of a client whose identity it has verified. The callout
// of the same keys takes it (CalloutOptions.Token: ReadTicket), in whichever of the broker's sidecars that runs.
// It is short-lived, and travels no further than from a sidecar to the broker beside it.
func (k *Keys) Ticket(id string, now time.Time) (string, error) {
	text, err := json.Marshal(ticket{id, now.Add(ticketTime).Unix()})
	if err != nil {
		return "", fmt.Errorf("writing a ticket: %w", err)
	}
	body := base64.RawURLEncoding.EncodeToString(text)
	seal, err := k.issuer.Sign([]byte(ticketSeal + body))
	if err != nil {
		return "", fmt.Errorf("signing a ticket: %w", err)
	}
	return body + "." + base64.RawURLEncoding.EncodeToString(seal), nil
}

// ReadTicket returns the identity in a ticket of these keys. It holds for as long as the connection does: the
// sidecar that showed the ticket cuts it.
func (k *Keys) ReadTicket(text string, now time.Time) (Identity, error) {
	body, seal, _ := strings.Cut(text, ".")
	signature, err := base64.RawURLEncoding.Strict().DecodeString(seal)
	if err != nil || len(text) > maxTicket || k.issuer.Verify([]byte(ticketSeal+body), signature) != nil {
		return Identity{}, errTicket
	}
	plain, err := base64.RawURLEncoding.Strict().DecodeString(body)
	var t ticket
	if err != nil || json.Unmarshal(plain, &t) != nil || t.ID == "" {
		return Identity{}, errTicket
	}
	if until := time.Unix(t.Until, 0); now.After(until.Add(ticketSpread)) || until.After(now.Add(ticketTime+ticketSpread)) {
		return Identity{}, errors.New("the ticket is not valid now")
	}
	return Identity{ID: t.ID}, nil
}
