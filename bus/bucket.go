package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/textproto"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// Headers and names are those of NATS key-value buckets (NATS ADR-8), so that its own tools read ours.
const (
	bucketStream   = "KV_"
	bucketSubject  = "$KV."
	headerID       = "Nats-Msg-Id"
	headerExpected = "Nats-Expected-Last-Subject-Sequence"
	headerKind     = "KV-Operation"
	kindDeleted    = "DEL"
	maxWatches     = 1 << 20         // of a bucket
	batchTime      = 5 * attemptTime // for UpdateAll: on a slow disk, to write each key by itself would take far longer
	sameWindow     = 5 * time.Minute // within which a repeated message is known as such
)

// BucketOptions are those of MakeBucket.
type BucketOptions struct {
	Name     string // letters, digits, - and _
	Replicas int    // servers that hold it; 0: 1
	MaxBytes int64  // of everything in it; 0: no bound of its own
}

// Bucket holds the newest value of each key. The role Control writes, others watch: what is written goes to a subject that
// only Keys know (Keys.writes), and is stored under the key's. Permissions alone would not do: JetStream answers
// to whatever subject an asker names, so that whoever may ask it for anything could have an answer stored as a key. Every write is synced to disk before it succeeds. Writes and reads repeat
// themselves until they succeed, fail for good, or their context ends; a write that is repeated takes effect once.
type Bucket struct {
	client *Client
	name   string
}

// Entry is a key's newest value.
type Entry struct {
	Key      string
	Value    []byte
	Revision uint64 // grows with every write in the bucket
	Time     time.Time
}

// MakeBucket makes a bucket or takes the existing one, which it brings to the given form.
func (c *Client) MakeBucket(ctx context.Context, o BucketOptions) (*Bucket, error) {
	if o.MaxBytes == 0 {
		o.MaxBytes = -1
	}
	if c.writes == "" {
		return nil, fmt.Errorf("making the bucket %q: %w", o.Name, errNotWriter)
	}
	at := c.writes + "." + o.Name + ".>"
	err := c.makeStream(ctx, jetstream.StreamConfig{
		Name: bucketStream + o.Name, Subjects: []string{at},
		SubjectTransform:  &jetstream.SubjectTransformConfig{Source: at, Destination: bucketSubject + o.Name + ".>"},
		MaxMsgsPerSubject: 1, MaxBytes: o.MaxBytes, Replicas: max(o.Replicas, 1),
		Storage: jetstream.FileStorage, Discard: jetstream.DiscardNew, Duplicates: sameWindow,
		DenyDelete: true, AllowRollup: false, AllowAtomicPublish: true,
		MaxConsumers:   maxWatches, // a server's own default is a thousand: that many watches, five hundred proxies
		ConsumerLimits: jetstream.StreamConsumerLimits{InactiveThreshold: watchesForgot},
		AllowDirect:    false, // a replica may answer with what was; the leader answers with what is
	})
	if err != nil {
		return nil, fmt.Errorf("making the bucket %q: %w", o.Name, err)
	}
	return c.Bucket(o.Name), nil
}

// Bucket returns a bucket that somebody has made, or will make, without asking the server.
func (c *Client) Bucket(name string) *Bucket { return &Bucket{client: c, name: name} }

// Put writes a value whatever was there, and returns its revision.
func (b *Bucket) Put(ctx context.Context, key string, value []byte) (uint64, error) {
	return b.write(ctx, "writing", key, value, nil, "")
}

// Create writes a value if the key has none, or had one that was deleted. The error wraps ErrConflict otherwise.
func (b *Bucket) Create(ctx context.Context, key string, value []byte) (uint64, error) {
	revision, err := b.Update(ctx, key, value, 0)
	if !errors.Is(err, ErrConflict) {
		return revision, err
	}
	last, deleted, err := b.last(ctx, key)
	switch {
	case err != nil:
		return 0, fmt.Errorf("making the key %q: %w", key, err)
	case !deleted:
		return 0, fmt.Errorf("making the key %q: %w", key, ErrConflict)
	}
	return b.Update(ctx, key, value, last.Revision)
}

// Update writes a value if the key's revision is the given one (0: never written). The error wraps ErrConflict
// otherwise.
func (b *Bucket) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	return b.write(ctx, "changing", key, value, &revision, "")
}

// Delete removes a key; watchers are told. Deleting what is not there is no error.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	_, err := b.write(ctx, "deleting", key, nil, nil, kindDeleted)
	return err
}

// Write is one of several.
type Write struct {
	Key      string
	Value    []byte
	Revision uint64 // that it replaces; 0: never written
}

// UpdateAll writes several keys, at most a thousand, like Update: all of them or none, with one sync for all, and returns
// their revisions. It tries once. If it fails, for whatever reason, all may be written or none, and Update tells for each;
// servers before 2.12 may have written some.
func (b *Bucket) UpdateAll(ctx context.Context, writes []Write) ([]uint64, error) {
	if len(writes) == 0 || len(writes) > maxBatch {
		return nil, fmt.Errorf("changing keys of %q: %d at once, expected 1 to %d", b.name, len(writes), maxBatch)
	}
	messages := make([]*nats.Msg, len(writes))
	for i, w := range writes {
		var err error
		if messages[i], _, err = b.message(w.Key, w.Value, &w.Revision); err != nil {
			return nil, fmt.Errorf("changing keys of %q: %w", b.name, err)
		}
	}
	var ack acknowledgement
	err := within(ctx, batchTime, func(ctx context.Context) (err error) {
		ack, err = b.client.storeBatch(ctx, messages)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("changing %d keys of %q: %w", len(writes), b.name, err)
	}
	revisions := make([]uint64, len(writes))
	for i := range revisions { // a batch is stored in one piece
		revisions[i] = ack.Sequence - uint64(len(writes)-1-i)
	}
	return revisions, nil
}

// message is a value of a key that replaces a revision, if one is given. Its id is returned as well.
func (b *Bucket) message(key string, value []byte, revision *uint64) (m *nats.Msg, id string, err error) {
	if err := checkSubject(key, false); err != nil {
		return nil, "", err
	}
	if b.client.writes == "" {
		return nil, "", errNotWriter
	}
	m, id = nats.NewMsg(b.client.writes+"."+b.name+"."+key), nuid.Next()
	m.Data = value
	m.Header[headerID] = []string{id}
	if revision != nil {
		m.Header[headerExpected] = []string{strconv.FormatUint(*revision, 10)}
	}
	return m, id, nil
}

// write stores a message of a key. If the acknowledgement of the first try is lost, the server knows the second by
// its id; where it has forgotten the id (its window has passed), the message itself still bears it.
func (b *Bucket) write(ctx context.Context, doing, key string, value []byte, revision *uint64, kind string) (uint64, error) {
	m, id, err := b.message(key, value, revision)
	if err != nil {
		return 0, fmt.Errorf("%s a key: %w", doing, err)
	}
	if kind != "" {
		m.Header[headerKind] = []string{kind}
	}
	var ack acknowledgement
	tries := 0
	err = retry(ctx, func(ctx context.Context) (err error) {
		tries++
		ack, err = b.client.store(ctx, m)
		return err
	})
	if tries > 1 && errors.Is(err, ErrConflict) {
		if last, _, lastErr := b.lastMessage(ctx, key); lastErr == nil && last.header(headerID) == id {
			return last.Sequence, nil
		}
	}
	if err != nil {
		return 0, fmt.Errorf("%s the key %q of %q: %w", doing, key, b.name, err)
	}
	return ack.Sequence, nil
}

// Get returns a key's value. The error wraps ErrNotFound if it has none.
func (b *Bucket) Get(ctx context.Context, key string) (Entry, error) {
	if err := checkSubject(key, false); err != nil {
		return Entry{}, fmt.Errorf("reading a key: %w", err)
	}
	entry, deleted, err := b.last(ctx, key)
	if err == nil && deleted {
		err = ErrNotFound
	}
	if err != nil {
		return Entry{}, fmt.Errorf("reading the key %q of %q: %w", key, b.name, err)
	}
	return entry, nil
}

func (b *Bucket) last(ctx context.Context, key string) (Entry, bool, error) {
	m, deleted, err := b.lastMessage(ctx, key)
	return Entry{Key: key, Value: m.Data, Revision: m.Sequence, Time: m.Time}, deleted, err
}

// storedMessage is how JetStream shows a message (nats-server, JSApiMsgGetResponse).
type storedMessage struct {
	Sequence uint64    `json:"seq"`
	Headers  []byte    `json:"hdrs"`
	Data     []byte    `json:"data"`
	Time     time.Time `json:"time"`
}

func (m *storedMessage) header(name string) string {
	header, err := nats.DecodeHeadersMsg(m.Headers)
	if err != nil {
		return ""
	}
	for key, values := range header {
		if textproto.CanonicalMIMEHeaderKey(key) == textproto.CanonicalMIMEHeaderKey(name) && len(values) > 0 {
			return values[0]
		}
	}
	return ""
}

func (b *Bucket) lastMessage(ctx context.Context, key string) (storedMessage, bool, error) {
	query, err := json.Marshal(map[string]string{"last_by_subj": bucketSubject + b.name + "." + key})
	if err != nil {
		return storedMessage{}, false, err
	}
	var out struct {
		Message storedMessage `json:"message"`
	}
	err = retry(ctx, func(ctx context.Context) error {
		m := nats.NewMsg("$JS.API.STREAM.MSG.GET." + bucketStream + b.name)
		m.Data = query
		return b.client.ask(ctx, m, &out)
	})
	kind := out.Message.header(headerKind)
	return out.Message, kind == kindDeleted || kind == "PURGE", err
}
