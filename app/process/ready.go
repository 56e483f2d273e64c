package process

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

const (
	readyTimeout = 3 * time.Minute // a first start may compile
	sayAfter     = 5 * time.Second // what is waited for
	sayAgain     = 30 * time.Second
)

// ready waits until the service answers. If that takes long, waiting is told what is missing; it may be nil.
func (p *proc) ready(ctx context.Context, waiting func(name, text string)) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	say := time.NewTimer(sayAfter)
	defer say.Stop()
	for {
		why := p.answers(ctx)
		if why == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %s", context.Cause(ctx), p.missing(why))
		case <-p.done:
			return errors.New("it ended before it was ready; its own output says why")
		case <-say.C:
			if waiting != nil {
				waiting(p.spec.Name, p.missing(why))
			}
			say.Reset(sayAgain)
		case <-tick.C:
		}
	}
}

// answers returns nil if the service is ready, else what it lacks.
func (p *proc) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	dial := new(net.Dialer).DialContext
	if p.pod != nil {
		dial = p.pod.Dial
	}
	if p.spec.Ready == "" {
		c, err := dial(ctx, "tcp", p.spec.Address)
		if err != nil {
			return err
		}
		return c.Close()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.spec.Address+p.spec.Ready, nil)
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close() // only the status matters
	if resp.StatusCode < 200 || resp.StatusCode >= 300 {
		return fmt.Errorf("it answers %s", resp.Status)
	}
	return nil
}

// missing says what is waited for, and where the service listens instead, if that can be seen.
func (p *proc) missing(why error) string {
	for next := errors.Unwrap(why); next != nil; next = errors.Unwrap(why) {
		why = next // what the system says is enough; the address is said already
	}
	var b strings.Builder
	if p.spec.Ready == "" {
		fmt.Fprintf(&b, "it takes no connection at %s", p.spec.Address)
	} else {
		fmt.Fprintf(&b, "GET %s at %s does not succeed", p.spec.Ready, p.spec.Address)
	}
	fmt.Fprintf(&b, " (%v)", why)
	if p.pod == nil {
		return b.String() // all of this host's sockets are in view, and whose they are is not
	}
	expected, _ := netip.ParseAddrPort(p.spec.Address)
	var elsewhere []string
	for _, at := range listening(p.cmd.Process.Pid, p.spec.Isolate.Listen) {
		if at.Port() == expected.Port() && (at == expected || at.Addr().IsUnspecified()) {
			return b.String()
		}
		elsewhere = append(elsewhere, at.String())
	}
	if len(elsewhere) > 0 {
		fmt.Fprintf(&b, "; it listens at %s: change services.%s.address, or let the service listen where LISTEN_ADDRESS says", strings.Join(elsewhere, ", "), p.spec.Name)
	} else {
		b.WriteString("; it listens nowhere yet")
	}
	return b.String()
}
