package main

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/palisade-security/palisade/control/admin"
	proxyside "github.com/palisade-security/palisade/control/client"
	"github.com/palisade-security/palisade/model"
)

// simulated is a proxy without traffic: everything that one says to control and hears from it, over connections of its own.
// It compiles nothing; what that costs is measured by itself.
type simulated struct {
	*proxyside.Client
	id    string
	mu    sync.Mutex
	at    time.Time // when it took the slice that is in force
	saved map[string][]byte
}

// Save and Load are proxyside.Keeper's, without a disk: a thousand proxies on one host would measure that.
func (p *simulated) Save(name string, data []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.saved[name] = slices.Clone(data)
	return nil
}

func (p *simulated) Load(name string) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if data, ok := p.saved[name]; ok {
		return data, nil
	}
	return nil, fs.ErrNotExist
}

// since returns when it took the slice in force, if that was after a moment.
func (p *simulated) since(t time.Time) (time.Time, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at, p.at.After(t)
}

func (s *controlSite) newProxy(ctx context.Context, i int, log *slog.Logger) (*simulated, error) {
	name := fmt.Sprint("service/s", i)
	token, err := s.admin.Token(ctx, admin.TokenRequest{Name: name})
	if err != nil {
		return nil, err
	}
	p := &simulated{id: "spiffe://" + controlDomain + "/" + name, saved: map[string][]byte{}}
	p.Client, err = proxyside.Open(ctx, proxyside.Options{
		Domain: controlDomain, Name: name, Node: "bench", Keeper: p, Log: log, Control: []string{s.Listen}, JoinToken: token.Token, Every: s.every,
		Compile: func(context.Context, *model.Snapshot) (func(), error) {
			return func() {
				p.mu.Lock()
				defer p.mu.Unlock()
				p.at = time.Now()
			}, nil
		},
		Places: func(map[string][]string) {},
		Stats: func() proxyside.Stats {
			return proxyside.Stats{Addresses: []string{fmt.Sprintf("10.%d.%d.2:9443", i/250, i%250)}}
		},
	})
	return p, err
}

const (
	enrolling = 8 // at once: each costs control several synced writes
	joinTime  = 2 * time.Minute
)

// join enrols proxies of the services from until to, runs them in g, and returns when all serve.
func (s *controlSite) join(ctx context.Context, g *errgroup.Group, from, to int) ([]*simulated, error) {
	out := make([]*simulated, to-from)
	log := slog.New(slog.DiscardHandler)
	all, enrol := errgroup.WithContext(ctx)
	all.SetLimit(enrolling)
	for i := range out {
		all.Go(func() (err error) {
			if out[i], err = s.newProxy(enrol, from+i, log); err != nil {
				return err
			}
			g.Go(func() error { return out[i].Run(ctx) })
			return out[i].serves(enrol)
		})
	}
	return out, all.Wait()
}

// serves returns when it does.
func (p *simulated) serves(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, joinTime)
	defer cancel()
	for tick := time.Tick(10 * time.Millisecond); p.Ready() != nil; {
		select {
		case <-tick:
		case <-ctx.Done():
			return fmt.Errorf("%s does not serve: %w", p.id, p.Ready())
		}
	}
	return nil
}
