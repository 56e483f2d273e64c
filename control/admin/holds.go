package admin

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/palisade-security/palisade/store/query"
)

// Paths of the interface for legal holds.
const (
	HoldsPath   = "/v1/admin/holds"         // GET: []query.Hold; POST HoldRequest: query.Hold
	ReleasePath = "/v1/admin/holds/release" // POST ReleaseRequest: query.Hold, as it was
)

// Holds is where events are kept from being deleted. A store does, and so does Client.
type Holds interface {
	Hold(ctx context.Context, h query.Hold) error
	Release(ctx context.Context, name string) (query.Hold, error)
	Holds(ctx context.Context) ([]query.Hold, error)
}

// HoldRequest asks for events to be held.
type HoldRequest struct {
	Name   string    `json:"name"`
	Query  string    `json:"query,omitempty"`
	From   time.Time `json:"from,omitzero"`
	To     time.Time `json:"to,omitzero"`
	Reason string    `json:"reason,omitempty"`
}

// ReleaseRequest asks for a hold to end.
type ReleaseRequest struct {
	Name string `json:"name"`
}

// PlaceHold answers a HoldRequest of an administrator. The error is a *Problem if the request is wrong.
func PlaceHold(ctx context.Context, in Holds, who string, body []byte) (query.Hold, error) {
	var q HoldRequest
	if err := json.Unmarshal(body, &q); err != nil {
		return query.Hold{}, wrong("the request cannot be read")
	}
	h := query.Hold{Name: q.Name, Query: q.Query, From: q.From, To: q.To, Reason: q.Reason, By: who, Placed: time.Now().UTC()}
	if _, err := h.Meant(); err != nil {
		return h, wrong(err.Error())
	}
	return h, holding(in.Hold(ctx, h))
}

// ReleaseHold answers a ReleaseRequest. The error is a *Problem if there is no such hold.
func ReleaseHold(ctx context.Context, in Holds, body []byte) (query.Hold, error) {
	var q ReleaseRequest
	if err := json.Unmarshal(body, &q); err != nil {
		return query.Hold{}, wrong("the request cannot be read")
	}
	was, err := in.Release(ctx, q.Name)
	was.Name = q.Name
	return was, holding(err)
}

// holding makes a *Problem of what people can mend.
func holding(err error) error {
	if errors.Is(err, query.ErrHeld) {
		return &Problem{Type: "about:blank", Status: http.StatusConflict, Title: http.StatusText(http.StatusConflict), Detail: err.Error()}
	}
	if errors.Is(err, query.ErrNoHold) {
		return &Problem{Type: "about:blank", Status: http.StatusNotFound, Title: "no such hold", Detail: err.Error() + "; palisade hold list shows those that stand"}
	}
	return err
}

// HoldText says what a hold keeps and why, for the act that records it.
func HoldText(h *query.Hold) string {
	text := h.Scope()
	if h.Reason != "" {
		text += "; reason: " + strconv.Quote(h.Reason)
	}
	return text
}

// Hold keeps events from being deleted. What the hold says of who and when is control's to say.
func (c *Client) Hold(ctx context.Context, h query.Hold) error {
	var out query.Hold
	return c.do(ctx, http.MethodPost, HoldsPath, HoldRequest{h.Name, h.Query, h.From, h.To, h.Reason}, &out)
}

// Release ends a hold and returns what it was.
func (c *Client) Release(ctx context.Context, name string) (was query.Hold, err error) {
	return was, c.do(ctx, http.MethodPost, ReleasePath, ReleaseRequest{name}, &was)
}

// Holds returns the holds that stand.
func (c *Client) Holds(ctx context.Context) (out []query.Hold, err error) {
	return out, c.do(ctx, http.MethodGet, HoldsPath, nil, &out)
}
