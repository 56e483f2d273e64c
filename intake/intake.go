// Package intake takes log records of services and systems in, so that they live beside the decisions and share their trace ids:
// over HTTP as JSON lines and as OTLP logs, over TLS as syslog, and from the files that container runtimes write and the journal
// of systemd. A record is taken once the journal has it on disk; only then is its sender told so.
//
// It is not the way in for events of Palisade's own proxies, which the bus carries, and it listens to nobody who is not declared
// as a source.
package intake

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"sync/atomic"
	"time"

	"github.com/palisade-security/palisade/event"
)

// Limits bound what a sender may send. All are in bytes.
type Limits struct {
	Body   int64 // of one HTTP body, unpacked
	Record int   // of the text and the attributes of one record together; what is more is left out
}

// The limits that nobody needs to change.
const (
	maxRecords    = 10_000    // of one HTTP body
	maxLine       = 256 << 10 // bytes of one line, message or frame
	maxAttributes = 64        // of one record
	maxName       = 128       // bytes of the name of an attribute
	maxValue      = 4 << 10   // bytes of the value of an attribute
	maxDepth      = 8         // of attributes within attributes; what is deeper stays JSON
	maxNesting    = 64        // of JSON, and of values of OTLP
	maxAtOnce     = 8         // HTTP bodies that are read at once
)

// Options say what is done with records.
type Options struct {
	Limits  Limits
	Take    func(ctx context.Context, records []*event.Event) error // returns when they are safe on disk
	Refused func(Refusal)                                           // is told of refusals, at most once a minute for each source and reason
	Count   func(source string, records int, bytes int64)           // is told of what was taken
	Turned  func(source, reason string)                             // is told of every refusal

	// Certificate returns what the other end of a connection has shown, verified; nil: nothing that is believed.
	Certificate func(*tls.ConnectionState) *x509.Certificate
}

// Intake takes records in. It is safe for concurrent use.
type Intake struct {
	o        Options
	sources  atomic.Pointer[sources]
	refusals refusals
	atOnce   chan struct{}
}

// New returns an intake that has no sources yet, and so refuses everybody.
func New(o Options) *Intake {
	in := &Intake{o: o, atOnce: make(chan struct{}, maxAtOnce), refusals: refusals{tell: o.Refused, turned: o.Turned}}
	in.sources.Store(&sources{})
	return in
}

// Declare replaces the sources. Those that stay keep what they have used of their quotas.
func (in *Intake) Declare(list []Source) {
	in.sources.Store(in.sources.Load().replaced(list, time.Now()))
}

// Run tells of refusals that are still to be told, until ctx ends.
func (in *Intake) Run(ctx context.Context) error { return in.refusals.run(ctx) }

// take hands records over that are complete, and counts them.
func (in *Intake) take(ctx context.Context, s *source, records []*record, bytes int64, sender sender) error {
	if len(records) == 0 {
		return nil
	}
	now := time.Now()
	events := make([]*event.Event, len(records))
	for i, r := range records {
		events[i] = r.event(s, sender, now, in.o.Limits.Record)
	}
	if err := in.o.Take(ctx, events); err != nil {
		return err
	}
	s.quota.spend(now, len(records), bytes)
	in.o.Count(s.Name, len(records), bytes)
	return nil
}
