package app

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/palisade-security/palisade/app/observe"
	"github.com/palisade-security/palisade/app/sinks"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/sink"
	"github.com/palisade-security/palisade/store/query"
)

// newSinks makes the sinks of a process, which keep their positions in its state directory.
func newSinks(state string, source func(where query.Query) sink.Source) *sinks.Sinks {
	host, err := os.Hostname()
	if err != nil {
		host = "" // shown, and no more
	}
	return sinks.New(sinks.Options{Dir: filepath.Join(state, "exports"), Source: source, Getenv: os.LookupEnv, Host: host, Log: slog.Default()})
}

// openExports makes the sinks of an edge. They follow the events that it keeps, or its record where it keeps none.
func (e *edge) openExports() {
	e.exports = newSinks(e.state, func(where query.Query) sink.Source {
		if e.memory != nil {
			return e.memory.follow(where)
		}
		return sinks.FromJournal(e.recorder.dir, e.journal.Next, where)
	})
}

// follow makes a source of what is kept.
func (m *memory) follow(where query.Query) sink.Source {
	return sinks.FromStore(func(ctx context.Context) (sinks.Records, error) {
		s, err := m.Await(ctx)
		if err != nil {
			return nil, err
		}
		records, ok := s.(sinks.Records)
		if !ok {
			return nil, errors.New("this store of events cannot be followed")
		}
		return records, nil
	}, where)
}

// export hands events on to the servers that a snapshot names.
func (e *edge) export(snap *model.Snapshot) error {
	if e.exports == nil { // what a fed edge records comes to control
		return nil
	}
	return e.exports.Follow(e.ctx, snap.Export)
}

// lookEvery is how soon a model that is applied, or another leader, is seen.
const lookEvery = 5 * time.Second

// exportLed hands the events of a fleet on while this control leads, as the model in force says, until ctx ends.
func exportLed(ctx context.Context, s *sinks.Sinks, now func() (snap *model.Snapshot, leads bool)) error {
	defer s.Close()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	told := ""
	for {
		var exports []model.ResolvedExport
		snap, leads := now()
		if leads && snap != nil {
			exports = snap.Export
		}
		if err := s.Follow(ctx, exports); err != nil && snap.Version != told {
			told = snap.Version
			slog.ErrorContext(ctx, "events are exported as before, or not at all", "snapshot", short(snap.Version), "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// exported is how sinks stand, as metrics show it.
func exported(s *sinks.Sinks) func() []observe.Export {
	return func() []observe.Export {
		var out []observe.Export
		for _, st := range s.Status() {
			out = append(out, observe.Export{
				Name: st.Name, Kind: st.Kind, Behind: st.Behind, Sent: st.Sent, Refused: st.Refused, Lost: st.Lost, Failures: st.Failures, Failing: st.Failing != "",
			})
		}
		return out
	}
}
