package bus

import (
	"context"

	"github.com/nats-io/nats.go/jetstream"
)

// Cluster returns who leads a stream, and whether all its replicas are up to date. For tests alone.
func (c *Client) Cluster(ctx context.Context, stream string) (leader string, current bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	s, err := c.js.Stream(ctx, stream)
	if err != nil {
		return "", false, err
	}
	info := s.CachedInfo()
	current = info.Cluster != nil && info.Cluster.Leader != "" && len(info.Cluster.Replicas) > 0
	if info.Cluster == nil {
		return "", false, nil
	}
	for _, r := range info.Cluster.Replicas {
		current = current && r.Current && !r.Offline
	}
	return info.Cluster.Leader, current, nil
}

// BucketStream is the stream behind a bucket.
func BucketStream(name string) string { return bucketStream + name }

// At is the name of the server that the client is connected to.
func (c *Client) At() string { return c.nc.ConnectedServerName() }

// Held is how many messages a stream holds.
func (c *Client) Held(ctx context.Context, stream string) (uint64, error) {
	s, err := c.js.Stream(ctx, stream)
	if err != nil {
		return 0, err
	}
	return s.CachedInfo().State.Msgs, nil
}

// MakeQueue makes a work queue, as earlier builds did.
func (c *Client) MakeQueue(ctx context.Context, name, subject string) error {
	return c.makeStream(ctx, jetstream.StreamConfig{Name: name, Subjects: []string{subject}, Retention: jetstream.WorkQueuePolicy, Storage: jetstream.FileStorage, Duplicates: sameWindow})
}
