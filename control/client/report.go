package client

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/palisade-security/palisade/control/wire"
	"github.com/palisade-security/palisade/identity/peer"
	"github.com/palisade-security/palisade/identity/workload"
)

const maxNotes = 128 // that wait for control; the oldest are dropped, and counted

// note makes an event of what happened, and keeps it until control has confirmed it.
func (c *Client) note(ctx context.Context, kind, text string) {
	n := wire.Note{At: time.Now().UTC(), Kind: kind, Text: text[:min(len(text), maxNoteText)]}
	c.mu.Lock()
	c.noted++
	n.Number = c.noted
	c.notes = append(c.notes, n)
	dropped := len(c.notes) > maxNotes
	if dropped {
		c.notes = c.notes[1:]
	}
	c.mu.Unlock()
	if c.o.Record != nil {
		c.o.Record(ctx, n)
	} else {
		c.log.WarnContext(ctx, "control", "kind", kind, "text", text)
	}
	if dropped {
		c.log.WarnContext(ctx, "control does not answer: the oldest of what happened is no longer reported to it")
	}
	c.Report()
}

const maxNoteText = 1 << 10

// Report makes a report go out now: something has changed that control should know, such as an address.
func (c *Client) Report() { c.poke(c.report) }

// reports tells control how we are, every few seconds and when something has changed, and at last that we leave.
func (c *Client) reports(ctx context.Context) error {
	for {
		if c.own.Load() != nil {
			c.tell(ctx, false)
		}
		timer := time.NewTimer(c.o.Every*9/10 + rand.N(c.o.Every/5+1)) //nolint:gosec // jitter needs no secret
		select {
		case <-ctx.Done():
			timer.Stop()
			bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), closing)
			defer cancel()
			c.tell(bye, true)
			return nil
		case <-timer.C:
		case <-c.report:
			timer.Stop()
			// What changes together is told together; a fleet that starts at once must not report each step.
			pause := time.NewTimer(gather)
			select {
			case <-ctx.Done():
			case <-pause.C:
			}
			pause.Stop()
			c.unpoke(c.report)
		}
	}
}

const gather = 20 * time.Millisecond

// tell sends one report. One that fails is not repeated: the next one says more, and has the same notes.
func (c *Client) tell(ctx context.Context, leaving bool) {
	r := c.compose(leaving)
	var a wire.ReportAnswer
	err := c.ask(ctx, wire.ReportSubject, r, &a)
	if errors.Is(err, errBusAway) { // a bus that is slow gets no faster by asking elsewhere as well
		err = c.post(ctx, wire.ReportPath, r, &a)
	} else if err == nil && a.Keys && len(r.Keys) > 0 {
		err = c.post(ctx, wire.ReportPath, r, &a)
	}
	if err != nil {
		c.log.DebugContext(ctx, "report not taken", "error", err)
		if c.foreign != nil && errors.Is(err, workload.ErrDenied) {
			c.source.Renew(c.id) // the bus may have been cut before it told us that we are revoked
		}
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.notes) > 0 && c.notes[0].Number <= a.Noted {
		c.notes = c.notes[1:]
	}
}

// compose says how we are.
func (c *Client) compose(leaving bool) *wire.Report {
	var stats Stats
	if c.o.Stats != nil {
		stats = c.o.Stats()
	}
	failures := 0
	for _, h := range c.source.Held() {
		failures += h.Failures
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.number++
	r := &wire.Report{
		Instance: c.instance, Number: c.number, Node: c.o.Node, Started: c.started,
		Version: c.in.version, Order: c.orders[wire.Slice], Made: c.in.made, Accepted: c.in.accepted, Reason: c.in.reason,
		Failures: failures, Stale: c.stale, Denied: c.live.Denied().Sequence(), Cut: c.cut,
		Traffic: stats.Traffic, Connections: stats.Connections, Addresses: stats.Addresses, Keys: stats.Keys, Leaving: leaving, Notes: append([]wire.Note(nil), c.notes...),
	}
	if svid := c.own.Load(); svid != nil {
		leaf := svid.Chain[0]
		r.Node = cmp.Or(peer.NodeOf(leaf), r.Node)
		r.Begins, r.Expires, r.Serial = leaf.NotBefore, leaf.NotAfter, leaf.SerialNumber.Text(16)
	}
	return r
}
