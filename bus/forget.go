package bus

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/nats-io/nats.go"
)

// Forget has the servers delete from their disks what consumers of a stream (ConsumeOptions.Once) have acknowledged: it leaves the stream soon, but its
// bytes stay in files that hold other messages until those are written anew. It does so if nothing waits in the stream, and tells whether it did. Nothing that was
// not acknowledged is deleted.
func (c *Client) Forget(ctx context.Context, stream string) (bool, error) {
	var info struct {
		State struct {
			Messages uint64 `json:"messages"`
			Last     uint64 `json:"last_seq"`
		} `json:"state"`
	}
	err := c.ask(ctx, nats.NewMsg("$JS.API.STREAM.INFO."+stream), &info)
	if err != nil || info.State.Messages > 0 {
		return false, forgetting(stream, err)
	}
	if err := c.purge(ctx, stream, info.State.Last+1); err != nil {
		return false, forgetting(stream, err)
	}
	return true, nil
}

// purge takes the messages of a stream up to a number, which stays, out of it.
func (c *Client) purge(ctx context.Context, stream string, before uint64) (err error) {
	m := nats.NewMsg("$JS.API.STREAM.PURGE." + stream)
	if m.Data, err = json.Marshal(map[string]uint64{"seq": before}); err != nil {
		return err
	}
	return c.ask(ctx, m, &struct{}{})
}

func forgetting(stream string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("forgetting what left the stream %q: %w", stream, err)
}
