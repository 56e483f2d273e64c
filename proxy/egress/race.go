package egress

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"
)

// headStart is how long one address has before the next is tried too (RFC 8305, section 5).
const headStart = 250 * time.Millisecond

// reached is a connection to the address that was checked.
type reached struct {
	net.Conn
	at netip.AddrPort
}

// race connects to the first of the addresses that answers, families in turn, IPv6 first (RFC 8305, section 4). It
// returns nil if none does, and how many were tried. Every other attempt has ended when it returns.
func race(ctx context.Context, bound time.Duration, addresses []netip.AddrPort, dial func(context.Context, string) (net.Conn, error)) (*reached, int) {
	ctx, cancel := context.WithTimeout(ctx, bound)
	var attempts sync.WaitGroup
	results := make(chan *reached, len(addresses))
	running, next := 0, 0
	order := inTurn(addresses)
	start := func() {
		at := order[next]
		next++
		running++
		attempts.Go(func() {
			c, err := dial(ctx, at.String())
			if err != nil {
				results <- nil
				return
			}
			results <- &reached{c, at}
		})
	}
	var won *reached
	for won == nil && (next < len(order) || running > 0) && ctx.Err() == nil {
		var more <-chan time.Time
		var wait *time.Timer
		if next < len(order) {
			if running == 0 {
				start()
				continue
			}
			wait = time.NewTimer(headStart)
			more = wait.C
		}
		select {
		case won = <-results:
			running--
			if won == nil && next < len(order) {
				start()
			}
		case <-more:
			start()
		case <-ctx.Done():
		}
		if wait != nil {
			wait.Stop()
		}
	}
	cancel()
	attempts.Wait()
	close(results)
	for late := range results {
		if late != nil {
			_ = late.Close() // another was quicker
		}
	}
	return won, next
}

// inTurn orders addresses so that families alternate, beginning with IPv6.
func inTurn(addresses []netip.AddrPort) []netip.AddrPort {
	var six, four []netip.AddrPort
	for _, a := range addresses {
		if a.Addr().Is4() {
			four = append(four, a)
		} else {
			six = append(six, a)
		}
	}
	out := make([]netip.AddrPort, 0, len(addresses))
	for i := range max(len(six), len(four)) {
		if i < len(six) {
			out = append(out, six[i])
		}
		if i < len(four) {
			out = append(out, four[i])
		}
	}
	return out
}
