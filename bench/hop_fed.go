package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// attachSidecars starts, beside a control that runs, the sidecars of both ends as processes of their own, and returns where the caller finds the called.
// The control is not counted: what it does for a request, keeping its records, is measured by itself (-events).
func (b *bench) attachSidecars(ctx context.Context, at place, control *process) (procs []*process, address string, err error) {
	control.aside = true
	procs = []*process{control}
	defer func() {
		if err != nil {
			stopAll(procs)
			procs = nil
		}
	}()
	for _, side := range []struct{ service, door string }{{"items", ""}, {"caller", "items"}} {
		inbound, err := freeAddress(ctx)
		if err != nil {
			return procs, "", err
		}
		if address, err = freeAddress(ctx); err != nil {
			return procs, "", err
		}
		token, err := joinToken(ctx, at, side.service)
		if err != nil {
			return procs, "", err
		}
		command := []string{
			at.Bin + "/palisade", "sidecar", "--quiet", "--service", side.service, "--state", filepath.Join(at.Dir, side.service), "--control", at.Listen,
			"--trust-domain", "bench.example", "--join-token-file", token, "--listen", inbound, "--advertise", inbound, "--workload-api", "off",
		}
		listens := inbound
		if side.door != "" {
			command, listens = append(command, "--outbound", side.door+"="+address), address
		}
		p, err := start(ctx, at.Dir, side.service, listens, command)
		if err != nil {
			return procs, "", err
		}
		procs = append(procs, p)
	}
	if err := awaitHop(ctx, address); err != nil {
		return procs, "", err
	}
	return procs, address, nil
}

// awaitHop returns when the caller's sidecar has heard from control where the called is, and its circuit has closed again. What the service answers to this is
// of no interest.
func awaitHop(ctx context.Context, address string) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	last, answered := 0, 0
	for range 1200 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/", http.NoBody)
		if err != nil {
			return err
		}
		answer, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			return err
		}
		if err := answer.Body.Close(); err != nil {
			return err
		}
		if answered++; answer.StatusCode == http.StatusBadGateway || answer.StatusCode == http.StatusServiceUnavailable {
			last, answered = answer.StatusCode, 0
		}
		if answered == 10 { // in a row, as a circuit wants some
			return nil
		}
	}
	return fmt.Errorf("the sidecar at %s answers %d after a minute", address, last)
}

// joinToken has control write a token for the sidecar of a service into a file.
func joinToken(ctx context.Context, at place, service string) (path string, err error) {
	path = filepath.Join(at.Dir, service+".token")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	join := exec.CommandContext(ctx, at.Bin+"/palisade", "join", "--state", filepath.Join(at.Dir, "state"), "service/"+service)
	join.Stdout = f
	if err := join.Run(); err != nil {
		return "", fmt.Errorf("a join token for %s: %w", service, err)
	}
	return path, nil
}
