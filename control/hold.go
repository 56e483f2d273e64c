package control

import (
	"context"
	"net/http"

	"github.com/palisade-security/palisade/control/admin"
)

func (c *Control) showHolds(ctx context.Context, _ caller, _ *http.Request, _ []byte) (any, string, error) {
	if c.o.Holds == nil {
		return nil, "", errNoEvents
	}
	out, err := c.o.Holds.Holds(ctx)
	return out, "", err
}

func (c *Control) doHold(ctx context.Context, who caller, _ *http.Request, body []byte) (any, string, error) {
	if c.o.Holds == nil {
		return nil, "", errNoEvents
	}
	out, err := admin.PlaceHold(ctx, c.o.Holds, who.name, body)
	return out, out.Name, err
}

func (c *Control) doRelease(ctx context.Context, _ caller, _ *http.Request, body []byte) (any, string, error) {
	if c.o.Holds == nil {
		return nil, "", errNoEvents
	}
	out, err := admin.ReleaseHold(ctx, c.o.Holds, body)
	return out, out.Name, err
}
