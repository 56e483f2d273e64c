package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/palisade-security/palisade/app/atlas"
	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/topology"
)

// keptMap returns the map that was kept of a time: by control on another host, or in a state directory; from names one.
func (o *Options) keptMap(ctx context.Context, from string, at Span) (*topology.Map, error) {
	m, err := o.askMap(ctx, from, at)
	problem, told := errors.AsType[*admin.Problem](err)
	if errors.Is(err, atlas.ErrNone) || told && problem.Detail == atlas.ErrNone.Error() {
		return nil, fmt.Errorf("no map is kept of the time from %s to %s; palisade up and control keep them from when they first run, for audit.retain.maps",
			at.Since.Format(time.DateTime), at.Until.Format(time.DateTime))
	}
	if err != nil {
		return nil, o.asked(err)
	}
	return m, nil
}

func (o *Options) askMap(ctx context.Context, from string, at Span) (*topology.Map, error) {
	if from == "" && o.Reach.Control != "" {
		c, err := o.remote()
		if err != nil {
			return nil, err
		}
		defer c.Close()
		return c.Map(ctx, at.Since, at.Until)
	}
	of := *o
	if from != "" {
		of.State = from
	}
	state, err := of.state()
	if err != nil {
		return nil, err
	}
	c := admin.Local(socketPath(state))
	defer c.Close()
	m, err := c.Map(ctx, at.Since, at.Until)
	if err == nil || !nobodyThere(err) {
		return m, err
	}
	return atlas.In(atlasDir(state)).Map(ctx, at.Since, at.Until)
}
