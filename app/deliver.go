package app

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/palisade-security/palisade/app/archive"
	"github.com/palisade-security/palisade/control/client"
	"github.com/palisade-security/palisade/control/wire"
	"github.com/palisade-security/palisade/store/journal"
)

// delivery brings what a proxy records to its control.
type delivery struct {
	*archive.Follower
	to   func() *client.Client
	name string // of this process among those that deliver
	lost func(ctx context.Context, n uint64, why string)
}

// deliver makes the delivery of a record, whose position is in the state directory. It works while run does.
func (r *recorder) deliver(state string, to func() *client.Client) *delivery {
	d := &delivery{to: to, name: rand.Text(), lost: r.lost}
	d.Follower = &archive.Follower{
		Journal: r.dir, Position: filepath.Join(state, "delivered"), Bytes: wire.MaxEvents / 2, Linger: deliverLinger, Deliver: d.hand, Lost: r.lost, Kept: r.letGo, Log: slog.Default(),
	}
	r.metrics.Behind(d.Behind)
	return d
}

// hand delivers records. What the bus does not take even alone is lost.
func (d *delivery) hand(ctx context.Context, records []journal.Record) error {
	var lines bytes.Buffer
	size := 0
	for i := range records {
		size += len(records[i].Data) + 1
	}
	lines.Grow(size)
	for i := range records {
		lines.Write(bytes.TrimSpace(records[i].Data))
		lines.WriteByte('\n')
	}
	err := d.to().Deliver(ctx, fmt.Sprintf("%s-%d-%d", d.name, records[0].Seq, len(records)), lines.Bytes())
	if !errors.Is(err, client.ErrTooLarge) {
		return err
	}
	if len(records) == 1 {
		d.lost(ctx, 1, fmt.Sprintf("record %d is larger than the bus takes", records[0].Seq))
		return nil
	}
	half := len(records) / 2
	return errors.Join(d.hand(ctx, records[:half]), d.hand(ctx, records[half:]))
}

const (
	// deliverLinger is how long a record waits for others. The bus syncs its disk for each message, whatever it holds: five hundred proxies with
	// little to tell make 2,500 a second of them.
	deliverLinger = 200 * time.Millisecond

	settleTime  = 3 * time.Second                      // at the end, for what was just recorded
	settleLeast = deliverLinger + 100*time.Millisecond // until that is read
	settlePoll  = 20 * time.Millisecond
)

// settle waits until all that is recorded is delivered, unless control is away.
func (d *delivery) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	wait := settleLeast
	for {
		select {
		case <-time.After(wait):
			wait = settlePoll
		case <-ctx.Done():
			return
		}
		if d.Behind() == 0 || d.Err() != nil {
			return
		}
	}
}
