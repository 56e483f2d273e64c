package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/palisade-security/palisade/bus"
	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/identity/authority"
	"github.com/palisade-security/palisade/identity/revocation"
	"github.com/palisade-security/palisade/identity/workload"
	"github.com/palisade-security/palisade/model"
)

const (
	cutTime     = 10 * time.Second // for proxies to confirm that they have cut
	restoreTime = time.Second
)

// revoke refuses a service, a serial number or a node, and waits until all proxies that are there have cut it off.
func (l *leader) revoke(ctx context.Context, who caller, q admin.RevokeRequest) (admin.RevokeResult, error) {
	c, begun := l.c, time.Now()
	kind := revocation.Kind(q.Kind)
	value, err := revocation.Normal(c.domain, kind, q.Value)
	if f := c.fleet.Load(); err == nil && f != nil {
		err = q.Check(f.snap)
	}
	if err == nil {
		err = c.revocable(kind)
	}
	if err != nil {
		return admin.RevokeResult{}, fmt.Errorf("%w: %w", errWrong, err)
	}
	err = c.authority.Revoke(ctx, kind, value, q.Reason, who.name)
	out := admin.RevokeResult{Volatile: errors.Is(err, authority.ErrNotDurable), Reason: q.Reason}
	if err != nil && !out.Volatile {
		return out, err
	}
	if err := l.publishList(ctx, &out); err != nil {
		return out, err
	}
	out.Bus, err = l.cutBus(ctx)
	if err != nil {
		c.log.WarnContext(ctx, "bus connections of what is revoked not all ended", "error", err)
	}
	l.await(ctx, &out, begun, l.affected())
	return out, nil
}

// restore undoes revoke: new identities are issued again.
func (l *leader) restore(ctx context.Context, q admin.RevokeRequest) (admin.RevokeResult, error) {
	begun := time.Now()
	value, err := revocation.Normal(l.c.domain, revocation.Kind(q.Kind), q.Value)
	if err != nil {
		return admin.RevokeResult{}, fmt.Errorf("%w: %w", errWrong, err)
	}
	err = l.c.authority.Restore(ctx, revocation.Kind(q.Kind), value)
	switch {
	case errors.Is(err, authority.ErrNotRevoked):
		return admin.RevokeResult{}, fmt.Errorf("%w: %w", errConflict, err)
	case err != nil:
		return admin.RevokeResult{}, err
	}
	var out admin.RevokeResult
	if err := l.publishList(ctx, &out); err != nil {
		return out, err
	}
	ctx, cancel := context.WithTimeout(ctx, restoreTime) // nothing is cut: who is late is no danger
	defer cancel()
	l.await(ctx, &out, begun, l.affected())
	return out, nil
}

// cutBus ends the connections to the bus of what is revoked.
func (l *leader) cutBus(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, cutTime)
	defer cancel()
	return bus.NewOperator(l.c.system).Cut(ctx, l.c.refused)
}

// publishList pushes the list in force at once.
func (l *leader) publishList(ctx context.Context, out *admin.RevokeResult) error {
	out.List = l.c.authority.Revoked().Sequence()
	if err := l.c.trust(ctx); err != nil {
		return err
	}
	l.c.tellNews(ctx)
	return l.sayTrust(ctx)
}

// affected returns what is revoked itself, as far as it is known: it cannot confirm any more.
func (l *leader) affected() map[string]bool {
	list, out := l.c.authority.Revoked(), map[string]bool{}
	for _, e := range l.c.desk.entries() {
		id, err := workload.ParseID(e.ID)
		if err != nil {
			continue
		}
		if _, refused := list.Refuses(revocation.Subject{ID: id, Serial: e.Report.Serial, Node: e.Report.Node, Begins: time.Now()}); refused {
			out[deskKey(e.ID, e.Report.Instance)] = true
		}
	}
	return out
}

// await waits until all proxies that are there enforce a list, and tells how long after begun the last confirmed it. Both
// moments are of control's clock, so that the figure holds whatever the clocks of hosts say; it includes the way of
// the confirmation.
func (l *leader) await(ctx context.Context, out *admin.RevokeResult, begun time.Time, except map[string]bool) {
	ctx, cancel := context.WithTimeout(ctx, cutTime)
	defer cancel()
	first := map[string]uint64{} // connections cut before
	for _, e := range l.c.desk.entries() {
		if e.Seen.Before(begun) {
			first[deskKey(e.ID, e.Report.Instance)] = e.Report.Cut
		}
	}
	for {
		news := l.c.desk.news.wait()
		if l.c.several() {
			_ = l.c.desk.load(ctx) // the next round, or the deadline, decides
		}
		out.Missing, out.Confirmed, out.Cut = nil, 0, 0
		var last time.Time
		for _, e := range l.c.desk.entries() {
			key := deskKey(e.ID, e.Report.Instance)
			switch {
			case except[key] || e.away(begun):
			case e.Report.Denied >= out.List:
				out.Confirmed++
				out.Cut += since(first[key], e.Report.Cut)
				if e.Seen.After(last) {
					last = e.Seen
				}
			default:
				out.Missing = append(out.Missing, e.Report.Instance)
			}
		}
		if last.After(begun) {
			out.Took = model.Duration(last.Sub(begun))
		}
		if len(out.Missing) == 0 {
			return
		}
		slices.Sort(out.Missing)
		tick := time.NewTimer(rebuild)
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-news:
			tick.Stop()
			l.rest(ctx, glance, nil)
		case <-tick.C:
		}
	}
}

// identity reads what a join token is made for, or a proxy wants to be: "service/orders" or "edge/edge".
func (c *Control) identity(name string) (string, error) {
	id := c.domain.IDString() + "/" + name
	if _, err := workload.ParseID(id); err != nil {
		return "", fmt.Errorf("%q names no identity; write service/NAME or edge/%s", name, model.EdgeName)
	}
	return id, nil
}
