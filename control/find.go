package control

import (
	"context"
	"net/http"

	"github.com/palisade-security/palisade/control/admin"
)

// errNoEvents refuses to search what is not there.
var errNoEvents = &admin.Problem{Type: "about:blank", Status: http.StatusNotFound, Title: "no events", Detail: "this control keeps no events"}

func (c *Control) findEvents(ctx context.Context, _ caller, r *http.Request, _ []byte) (any, string, error) {
	if c.o.Events == nil {
		return nil, "", errNoEvents
	}
	out, err := admin.AnswerEvents(ctx, c.o.Events, r.URL.Query())
	return out, "", err
}

func (c *Control) showMap(ctx context.Context, _ caller, r *http.Request, _ []byte) (any, string, error) {
	if c.o.Maps == nil {
		return nil, "", errNoEvents
	}
	out, err := admin.AnswerMap(ctx, c.o.Maps, r.URL.Query())
	return out, "", err
}

func (c *Control) countEvents(ctx context.Context, _ caller, r *http.Request, _ []byte) (any, string, error) {
	if c.o.Events == nil {
		return nil, "", errNoEvents
	}
	out, err := admin.AnswerCounts(ctx, c.o.Events, r.URL.Query())
	return out, "", err
}
