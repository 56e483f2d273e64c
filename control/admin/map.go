package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/palisade-security/palisade/topology"
)

// MapPath is where maps of other times are found: GET, from and to (RFC 3339): a topology.Map.
const MapPath = "/v1/admin/map"

// Maps are the maps of a fleet over time (atlas.Book).
type Maps interface {
	// Map returns that of a time. The error tells what is wrong with it, or that nothing is kept of it.
	Map(ctx context.Context, from, until time.Time) (*topology.Map, error)
}

// AnswerMap answers MapPath. The error is a *Problem if the question is wrong.
func AnswerMap(ctx context.Context, m Maps, v url.Values) (*topology.Map, error) {
	var at [2]time.Time
	for i, name := range []string{"from", "to"} {
		var err error
		if at[i], err = time.Parse(time.RFC3339Nano, v.Get(name)); err != nil {
			return nil, wrong(name + " is no time; write 2026-11-22T10:30:00Z")
		}
	}
	if !at[0].Before(at[1]) {
		return nil, wrong("to is not after from")
	}
	out, err := m.Map(ctx, at[0], at[1])
	if err != nil {
		return nil, &Problem{Status: http.StatusNotFound, Title: http.StatusText(http.StatusNotFound), Detail: err.Error()}
	}
	return out, nil
}

// Map returns the map of a time that is kept.
func (c *Client) Map(ctx context.Context, from, until time.Time) (*topology.Map, error) {
	v := url.Values{"from": {from.Format(time.RFC3339Nano)}, "to": {until.Format(time.RFC3339Nano)}}
	var text json.RawMessage
	if err := c.do(ctx, http.MethodGet, MapPath+"?"+v.Encode(), nil, &text); err != nil {
		return nil, err
	}
	return topology.Read(bytes.NewReader(text))
}
