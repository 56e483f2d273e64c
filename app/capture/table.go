package capture

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// On puts rules in force in a network namespace: its path, or a name as "ip netns" gives it; empty: that of this
// process. What was in force for the service is replaced at once, and open connections that the new rules permit go on.
// The rules stay when this process and the sidecar end: then nothing passes.
func On(ctx context.Context, netns string, r *Rules) error {
	script, err := r.Text()
	if err != nil {
		return err
	}
	others, err := List(ctx, netns)
	if err != nil {
		return err
	}
	for _, o := range others {
		if err := o.collides(r); err != nil {
			return err
		}
	}
	if _, err := nft(ctx, netns, script, "-f", "-"); err != nil {
		return fmt.Errorf("capturing service %s: %w", r.Service, err)
	}
	return nil
}

// ErrOff means that a service is not captured.
var ErrOff = errors.New("the service is not captured")

// Off removes the rules for a service, or returns ErrOff. Connections that are open break, since nothing leads them to
// the sidecar any more: stop the service first.
func Off(ctx context.Context, netns, service string) error {
	all, err := List(ctx, netns)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(all, func(s Status) bool { return s.Service == service }) {
		return fmt.Errorf("%w: %q", ErrOff, service)
	}
	if _, err := nft(ctx, netns, "", "delete", "table", "inet", prefix+service); err != nil {
		return fmt.Errorf("ending the capture of service %s: %w", service, err)
	}
	return nil
}

// List returns what is captured in a network namespace, by service.
func List(ctx context.Context, netns string) ([]Status, error) {
	out, err := nft(ctx, netns, "", "-j", "list", "counters")
	if err != nil {
		return nil, fmt.Errorf("finding out what is captured: %w", err)
	}
	return parseCounters(out)
}

// parseCounters reads the counters of all tables, as nft prints them (libnftables-json(5)).
func parseCounters(text []byte) ([]Status, error) {
	var list struct {
		Objects []struct {
			Counter *struct {
				Table   string `json:"table"`
				Name    string `json:"name"`
				Comment string `json:"comment"`
				Packets uint64 `json:"packets"`
			} `json:"counter"`
		} `json:"nftables"`
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("reading what nft prints: %w", err)
	}
	var all []Status
	for _, o := range list.Objects {
		if o.Counter == nil {
			continue
		}
		service, ours := strings.CutPrefix(o.Counter.Table, prefix)
		if !ours {
			continue
		}
		i := slices.IndexFunc(all, func(s Status) bool { return s.Service == service })
		if i < 0 {
			i, all = len(all), append(all, Status{Service: service})
		}
		switch o.Counter.Name {
		case counterCaptured:
			all[i].Captured = o.Counter.Packets
			all[i].parseAbout(o.Counter.Comment)
		case counterOut:
			all[i].RefusedOut = o.Counter.Packets
		case counterIn:
			all[i].RefusedIn = o.Counter.Packets
		}
	}
	slices.SortFunc(all, func(a, b Status) int { return strings.Compare(a.Service, b.Service) })
	return all, nil
}

// errNoNft says how to get the program that loads rules.
var errNoNft = errors.New("nft is not installed; it comes with the package nftables (apt install nftables)")

// nft runs nft(8) in a network namespace and returns what it prints. It is run rather than spoken for, so that what is
// loaded is the text that "--print" shows, and can be read, checked and kept like any other ruleset of the host.
func nft(ctx context.Context, netns, script string, args ...string) ([]byte, error) {
	path, err := findNft()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, path, args...) //nolint:gosec // the words are ours
	cmd.Env = []string{"LC_ALL=C"}
	cmd.Stdin = strings.NewReader(script)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := within(netns, cmd.Start); err != nil {
		return nil, err
	}
	err = cmd.Wait()
	switch {
	case err == nil:
		return out.Bytes(), nil
	case strings.Contains(said.String(), "Operation not permitted"):
		return nil, errors.New("nft may not: rules need root, or CAP_NET_ADMIN over the network namespace")
	}
	first, _, _ := strings.Cut(strings.TrimSpace(said.String()), "\n")
	return nil, fmt.Errorf("nft: %w: %s", err, first)
}

// findNft finds nft also where the path of ordinary users has no folders of administrators.
func findNft() (string, error) {
	if path, err := exec.LookPath("nft"); err == nil {
		return path, nil
	}
	for _, path := range []string{"/usr/sbin/nft", "/sbin/nft"} {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("looking for nft: %w", err)
		}
	}
	return "", errNoNft
}
