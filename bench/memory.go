package main

import (
	"context"
	"fmt"
)

// MemoryResult is the resident set of Palisade, in bytes.
type MemoryResult struct {
	Peer        string `json:"peer"`
	Title       string `json:"title"`
	Start       int64  `json:"start"`       // after start, nobody connected
	Connected   int64  `json:"connected"`   // with memoryConnections open, each having asked twice
	AfterLoad   int64  `json:"after_load"`  // after Requests more
	Connections int    `json:"connections"` // kept alive
	Requests    int    `json:"requests"`    // of AfterLoad
}

const (
	memoryConnections = 1000
	memoryRequests    = 3000
	memoryPace        = 100 // requests per second, over all connections
)

// memory measures what a thousand clients at rest cost: each connection asks now and then.
func (b *bench) memory(ctx context.Context) ([]MemoryResult, error) {
	var out []MemoryResult
	for _, name := range []string{"palisade", "palisade-full"} {
		m, err := b.memoryOf(ctx, peerNamed(name))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out = append(out, m)
	}
	return out, nil
}

func (b *bench) memoryOf(ctx context.Context, p *peer) (m MemoryResult, err error) {
	proc, place, err := b.start(ctx, p, "")
	if err != nil {
		return m, err
	}
	defer proc.stop()
	m = MemoryResult{Peer: p.name, Title: p.title, Connections: memoryConnections, Requests: int(memoryRequests * min(b.o.scale, 1))}
	if m.Start, err = proc.resident(); err != nil {
		return m, err
	}
	conns, err := dialAll(ctx, place.Listen, b.keys.roots, groups[0].shape.requests(b.tokens(p, true)), memoryConnections)
	if err != nil {
		return m, err
	}
	defer conns.close()
	for range 2 {
		for _, c := range conns {
			if err := c.do(); err != nil {
				return m, err
			}
		}
	}
	if m.Connected, err = proc.resident(); err != nil {
		return m, err
	}
	if _, err := conns.send(ctx, m.Requests, memoryPace); err != nil {
		return m, err
	}
	m.AfterLoad, err = proc.resident()
	return m, err
}
