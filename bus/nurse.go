package bus

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	reviveEvery = 2 * time.Second
	enoughRoom  = 1 << 20 // bytes
)

// nurse starts the streams again that the server gives up for good when the disk is full: as soon as there is room. Nothing that was acknowledged
// is lost by that, since it was on disk before.
func (s *Server) nurse(o *server.Options, log *slog.Logger) {
	defer close(s.nursed)
	tick := time.NewTicker(reviveEvery)
	defer tick.Stop()
	for ready, told := false, false; ; {
		select {
		case <-tick.C:
		case <-s.ended:
			return
		}
		if !s.server.Running() || !ready && !s.server.JetStreamEnabled() { // it is only about to start, or about to end
			continue
		}
		ready = true
		ill := s.illness()
		if ill == nil {
			told = false
			continue
		}
		if !told {
			log.Error("the bus cannot write its streams", "error", ill)
			told = true
			continue // once is not enough: a stream is found ill while it is being removed
		}
		if err := room(o.StoreDir); err != nil {
			continue
		}
		if err := s.revive(o); err != nil {
			log.Error("the streams of the bus do not start again", "error", err)
			continue
		}
		log.Warn("the streams of the bus are there again")
		told = false
	}
}

// illness is why the server no longer writes what it is given, or nil. A store that once could not write never tries again.
func (s *Server) illness() error {
	if !s.server.JetStreamEnabled() {
		return errors.New("the server has ended its streams")
	}
	all, err := s.server.Jsz(&server.JSzOptions{Accounts: true, Streams: true})
	if err != nil {
		return fmt.Errorf("listing the streams: %w", err)
	}
	for _, account := range all.AccountDetails {
		for _, stream := range account.Streams { // one by one: asked for all, the server looks at the first of each account alone
			health := s.server.Healthz(&server.HealthzOptions{Account: account.Name, Stream: stream.Name})
			if health.Error != "" && health.StatusCode != http.StatusNotFound { // it may be gone since
				return errors.New(health.Error)
			}
		}
	}
	return nil
}

// room tells by writing whether there is some: free blocks that are counted may be beyond a quota.
func room(dir string) (err error) {
	f, err := os.CreateTemp(dir, ".room-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(filepath.Clean(f.Name()))) }()
	if _, err := f.Write(make([]byte, enoughRoom)); err != nil {
		return err
	}
	return f.Sync()
}

func (s *Server) revive(o *server.Options) error {
	if err := s.server.ShutdownJetStream(); err != nil {
		return err
	}
	return s.server.EnableJetStream(&server.JetStreamConfig{
		StoreDir: o.StoreDir, MaxStore: o.JetStreamMaxStore, MaxMemory: o.JetStreamMaxMemory, SyncAlways: true,
	})
}
