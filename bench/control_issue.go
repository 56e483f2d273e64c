package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/palisade-security/palisade/bus"
	"github.com/palisade-security/palisade/control/wire"
	"github.com/palisade-security/palisade/identity/authority"
	mtls "github.com/palisade-security/palisade/identity/peer"
	"github.com/palisade-security/palisade/identity/workload"
	"github.com/palisade-security/palisade/keyring"
)

// IssueResult is how many identities can be issued per second of CPU.
type IssueResult struct {
	What    string    `json:"what"`
	PerCPU  float64   `json:"per_cpu_second"` // median of rounds
	Rounds  []float64 `json:"per_cpu_second_by_round"`
	Elapsed float64   `json:"per_second"` // with the askers on the same machine; 0: not asked for by others
}

const (
	issued  = 4000 // of each kind in a full round
	askers  = 32   // proxies that ask at once
	keyUses = 100  // of one key pair: who issues does not make it
)

// issuing measures the authority alone, in this process, and control end to end, in its own.
func issuing(ctx context.Context, rounds int, share float64) ([]IssueResult, error) {
	n := max(int(issued*share), 10*askers)
	out, err := alone(ctx, rounds, n)
	if err != nil {
		return nil, fmt.Errorf("the authority alone: %w", err)
	}
	over, err := overBus(ctx, rounds, n)
	if err != nil {
		return nil, fmt.Errorf("over the bus: %w", err)
	}
	return append(out, over...), nil
}

func alone(ctx context.Context, rounds, n int) (_ []IssueResult, err error) {
	dir, err := os.MkdirTemp("", "palisade-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	keeper, err := keyring.LocalKeeper(dir)
	if err != nil {
		return nil, err
	}
	ring, err := keyring.OpenRing(ctx, dir, keeper)
	if err != nil {
		return nil, err
	}
	id, err := workload.ParseID("spiffe://" + controlDomain + "/service/s0")
	if err != nil {
		return nil, err
	}
	a, err := authority.Open(ctx, authority.Config{
		TrustDomain: id.TrustDomain(), Keys: ring, Store: authority.NewFileStore(filepath.Join(dir, "authority.json")), Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, err
	}
	csrs := make([][]byte, keyUses)
	keys := make([]crypto.PublicKey, keyUses)
	for i := range csrs {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		if csrs[i], err = wire.NewCSR(key); err != nil {
			return nil, err
		}
		keys[i] = key.Public()
	}
	sign := func(key crypto.PublicKey) error {
		_, err := a.SignX509(ctx, authority.X509Request{ID: id, Public: key, Node: "bench"})
		return err
	}
	kinds := []struct {
		what string
		do   func(i int) error
	}{
		{"X.509-SVID, the authority alone", func(i int) error { return sign(keys[i%keyUses]) }},
		{"X.509-SVID, with the check of the CSR", func(i int) error {
			key, err := wire.CheckCSR(csrs[i%keyUses])
			if err != nil {
				return err
			}
			return sign(key)
		}},
		{"JWT-SVID, the authority alone", func(int) error {
			_, err := a.SignJWT(ctx, authority.JWTRequest{ID: id, Audiences: []string{"spiffe://bench.example/service/s1"}})
			return err
		}},
	}
	var out []IssueResult
	for _, kind := range kinds {
		r := IssueResult{What: kind.what}
		for range rounds {
			runtime.GC()
			begun := ownCPU()
			for i := range n {
				if err := kind.do(i); err != nil {
					return nil, err
				}
			}
			r.Rounds = append(r.Rounds, float64(n)/(ownCPU()-begun).Seconds())
		}
		r.PerCPU = median(r.Rounds)
		out = append(out, r)
	}
	return out, nil
}

// overBus has many proxies ask control for another SVID as fast as they are answered.
func overBus(ctx context.Context, rounds, n int) (_ []IssueResult, err error) {
	s, err := startSite(ctx, askers)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	running, end := context.WithCancel(ctx)
	g := new(errgroup.Group)
	defer func() { end(); err = errors.Join(err, g.Wait()) }()
	proxies, err := s.join(running, g, 0, askers)
	if err != nil {
		return nil, err
	}
	links := make([]*asker, askers)
	for i, p := range proxies {
		if links[i], err = newAsker(ctx, s, p); err != nil {
			return nil, err
		}
		defer links[i].link.Close(ctx)
	}
	var out []IssueResult
	for _, kind := range []struct {
		what string
		do   func(context.Context, *asker) error
	}{
		{"X.509-SVID renewed over the bus: TLS, proof of the last SVID, CSR, signature, answer", func(ctx context.Context, a *asker) error { return a.renew(ctx) }},
	} {
		r := IssueResult{What: kind.what}
		var rates []float64
		for range rounds {
			rate, perCPU, err := s.load(ctx, links, n/askers, kind.do)
			if err != nil {
				return nil, err
			}
			r.Rounds, rates = append(r.Rounds, perCPU), append(rates, rate)
		}
		r.PerCPU, r.Elapsed = median(r.Rounds), median(rates)
		out = append(out, r)
	}
	return out, nil
}

// load has each asker ask n times, one after the other, and returns how many were answered per second and per second of
// control's CPU.
func (s *controlSite) load(ctx context.Context, links []*asker, n int, do func(context.Context, *asker) error) (rate, perCPU float64, err error) {
	if _, err := s.look(); err != nil {
		return 0, 0, err
	}
	before, err := s.cpu()
	if err != nil {
		return 0, 0, err
	}
	begun := time.Now()
	g, ctx := errgroup.WithContext(ctx)
	for _, one := range links {
		g.Go(func() error {
			for range n {
				if err := do(ctx, one); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return 0, 0, err
	}
	took := time.Since(begun)
	after, err := s.cpu()
	all := float64(n * len(links))
	return all / took.Seconds(), all / (after - before).Seconds(), err
}

// asker is a proxy's connection to the bus, with a renewal that is made once and asked for again and again: the work of
// control is the same each time.
type asker struct {
	link    *bus.Client
	token   string // of the subject
	renewal []byte
}

func newAsker(ctx context.Context, s *controlSite, p *simulated) (*asker, error) {
	own, err := p.Certificate()
	if err != nil {
		return nil, err
	}
	key, ok := own.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, errors.New("the key of the SVID does not sign")
	}
	csr, err := wire.NewCSR(key)
	if err != nil {
		return nil, err
	}
	q := wire.SignRequest{CSR: csr, Chain: own.Certificate}
	if q.Response, err = wire.Respond(key, nil, csr); err != nil {
		return nil, err
	}
	a := &asker{token: bus.SubjectToken(p.id)}
	if a.renewal, err = json.Marshal(q); err != nil {
		return nil, err
	}
	config := mtls.ClientConfig(func() (*tls.Certificate, error) { return own, nil }, p.Verifier(), func(id workload.ID) bool {
		return wire.IsBus(controlDomain, id.String())
	})
	a.link, err = bus.Connect(ctx, bus.Options{Name: "bench", URLs: []string{"tls://" + s.Bus}, TLS: config, ID: p.id, Log: slog.New(slog.DiscardHandler)})
	return a, err
}

func (a *asker) renew(ctx context.Context) error {
	var answer wire.SignAnswer
	data, err := a.link.Request(ctx, wire.SignSubject+a.token, a.renewal)
	if err == nil {
		err = json.Unmarshal(data, &answer)
	}
	if err == nil && len(answer.Chain) < 2 {
		err = errors.New("the answer holds no SVID")
	}
	return err
}
