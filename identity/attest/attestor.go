package attest

import (
	"context"
	"errors"
	"fmt"
	"os/user"
	"strconv"
	"sync/atomic"
)

// Attestor tells which declared service a local process is. It is safe for concurrent use.
type Attestor struct {
	docker *Docker
	hashes *hashes
	state  atomic.Pointer[declared]
}

// declared is one set of services; changed is closed when another replaces it.
type declared struct {
	matcher *Matcher
	changed chan struct{}
}

// NewAttestor asks docker about containers; nil if there are none on this host. Without SetServices nobody is
// any service.
func NewAttestor(docker *Docker) *Attestor {
	a := &Attestor{docker: docker, hashes: newHashes()}
	a.state.Store(&declared{&Matcher{}, make(chan struct{})})
	return a
}

// SetServices replaces the declared workloads and wakes whoever waits for a change.
func (a *Attestor) SetServices(m *Matcher) {
	old := a.state.Swap(&declared{m, make(chan struct{})})
	close(old.changed)
}

// Service returns the one service that the caller is, and a channel that is closed when the declared services
// change and the answer may be another. A *Refusal says that it is none or several; any other error that it
// could not be found out. Both mean: nothing for this caller.
func (a *Attestor) Service(ctx context.Context, p *Peer) (service string, changed <-chan struct{}, err error) {
	state := a.state.Load()
	proven, err := a.Prove(ctx, p, state.matcher)
	if err != nil {
		return "", state.changed, err
	}
	service, err = state.matcher.Match(proven)
	return service, state.changed, err
}

// Prove finds out what m needs to know of the caller. What is needed and cannot be found out is an error, not
// an omission: a missing selector could turn an ambiguous caller into a clear one.
func (a *Attestor) Prove(ctx context.Context, p *Peer, m *Matcher) ([]Selector, error) {
	out := []Selector{{Kind: UnixUID, Value: strconv.FormatUint(uint64(p.UID()), 10)}}
	if m.Needs(UnixUser) {
		name, err := userName(p.UID())
		if err != nil {
			return nil, err
		}
		if name != "" {
			out = append(out, Selector{Kind: UnixUser, Value: name})
		}
	}
	if m.Needs(UnixPath, UnixSHA256, ContainerImage, ContainerLabel) {
		more, err := a.look(ctx, p, m)
		if err != nil {
			return nil, fmt.Errorf("attesting process %d: %w", p.PID(), err)
		}
		out = append(out, more...)
	}
	// Last: all that was read from /proc was the caller's if it lives now.
	if err := p.Alive(); err != nil {
		return nil, fmt.Errorf("attesting process %d: %w", p.PID(), err)
	}
	return out, nil
}

// userName returns "" for a user without a name.
func userName(uid uint32) (string, error) {
	u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10))
	if _, unknown := errors.AsType[user.UnknownUserIdError](err); unknown {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("looking up user %d: %w", uid, err)
	}
	return u.Username, nil
}

// look finds out what /proc and the container runtime know of the caller.
func (a *Attestor) look(ctx context.Context, p *Peer, m *Matcher) (out []Selector, err error) {
	dir, err := p.enter()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	if m.Needs(UnixPath, UnixSHA256) {
		if out, err = a.executable(ctx, dir, m); err != nil {
			return nil, err
		}
	}
	if m.Needs(ContainerImage, ContainerLabel) {
		more, err := a.container(ctx, dir)
		if err != nil {
			return nil, err
		}
		out = append(out, more...)
	}
	return out, nil
}

func (a *Attestor) executable(ctx context.Context, dir proc, m *Matcher) (out []Selector, err error) {
	file, exe, err := dir.executable()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	path, err := dir.path(exe)
	if err != nil {
		return nil, err
	}
	if path != "" {
		out = append(out, Selector{Kind: UnixPath, Value: path})
	}
	if m.Needs(UnixSHA256) {
		sum, err := a.hashes.sum(ctx, file, exe)
		if err != nil {
			return nil, err
		}
		out = append(out, Selector{Kind: UnixSHA256, Value: sum})
	}
	return out, nil
}

// container returns nothing for a process outside of containers.
func (a *Attestor) container(ctx context.Context, dir proc) ([]Selector, error) {
	groups, err := dir.cgroup()
	if err != nil {
		return nil, err
	}
	id, err := groups.container()
	if err != nil || id == "" {
		return nil, err
	}
	if a.docker == nil {
		return nil, errors.New("services are declared by container, and no runtime is given")
	}
	return a.docker.selectors(ctx, id, groups)
}
