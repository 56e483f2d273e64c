package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/engine"
	"github.com/palisade-security/palisade/proxy/gate"
)

// ReadResult is what it costs to read and compile a model, as `palisade validate` and the administrator's side of apply do.
type ReadResult struct {
	Services int     `json:"services"`
	CPU      float64 `json:"cpu_us"` // median
	Heap     uint64  `json:"heap"`   // bytes that the compiled model holds
	Document int     `json:"document"`
}

// TakeResult is what it costs a sidecar to take a slice: both of its engines compiled.
type TakeResult struct {
	Routes int     `json:"routes"`
	CPU    float64 `json:"cpu_us"` // median
	Heap   uint64  `json:"heap"`   // bytes that the compiled slice holds
}

func reading(n, rounds int) (_ *ReadResult, err error) {
	dir, err := os.MkdirTemp("", "palisade-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	files, err := fleetText(dir, n, asIs)
	if err != nil {
		return nil, err
	}
	out := &ReadResult{Services: n}
	var all []float64
	for range rounds {
		before, begun := inUse(), ownCPU()
		s, err := compileModel(files)
		all = append(all, micros(ownCPU()-begun))
		if err != nil {
			return nil, err
		}
		out.Heap = inUse() - before
		runtime.KeepAlive(s)
	}
	out.CPU = median(all)
	_, data, err := document(n, asIs)
	out.Document = len(data)
	return out, err
}

func inUse() uint64 {
	runtime.GC()
	runtime.GC() // what has finalizers is gone after the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// routesModel is a service with n routes that another calls.
func routesModel(n int) (_ *model.Snapshot, err error) {
	dir, err := os.MkdirTemp("", "palisade-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	var b strings.Builder
	fmt.Fprintf(&b, `version: 1
fleet: bench
trust_domain: %s
edge: {listeners: {main: {address: "127.0.0.1:8443", tls: {local: true}}}}
providers: {login: {issuer: "https://login.example", audience: [bench]}}
roles: {customer: {}, clerk: {}}
mesh: {}
services:
  web: {address: "http://127.0.0.1:1"}
  s0:
    address: http://127.0.0.1:2
    callers: [web]
    serve:
`, controlDomain)
	for i := range n {
		fmt.Fprintf(&b, "      - {path: \"/r%d/{id}/x\", methods: [GET], users: [{roles: [customer]}]}\n", i)
	}
	file := filepath.Join(dir, "palisade.yaml")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		return nil, err
	}
	return compileModel([]string{file})
}

type anybody struct{}

// ForRoute is gate.Authenticator's: whoever asks is taken; what is measured is how routes are compiled.
func (anybody) ForRoute(model.ResolvedRoute) proxy.Filter {
	return proxy.FilterFunc(func(context.Context, *proxy.Request) error { return nil })
}

func taking(ctx context.Context, n, rounds int) (*TakeResult, error) {
	whole, err := routesModel(n)
	if err != nil {
		return nil, err
	}
	slice := whole.ForService("s0")
	if len(slice.Routes) != n {
		return nil, fmt.Errorf("the slice has %d routes, expected %d", len(slice.Routes), n)
	}
	out := &TakeResult{Routes: n}
	var all []float64
	for range rounds {
		var built [2]*gate.Gate
		before := inUse()
		var builders [2]*gate.Builder
		for i, side := range []engine.Side{engine.Inbound, engine.Outbound} {
			if builders[i], err = gate.NewBuilder(gate.WithSide(side), gate.WithReach(func(*model.ResolvedService) gate.Reach {
				return gate.Reach{Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("nobody calls") }}
			})); err != nil {
				return nil, err
			}
		}
		begun := ownCPU()
		for i, b := range builders {
			if built[i], _, err = b.Build(ctx, slice, anybody{}); err != nil {
				return nil, err
			}
		}
		all = append(all, micros(ownCPU()-begun))
		out.Heap = inUse() - before
		runtime.KeepAlive(built)
		runtime.KeepAlive(builders)
	}
	out.CPU = median(all)
	return out, nil
}
