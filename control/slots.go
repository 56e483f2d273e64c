package control

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// Bounds of what strangers and proxies can hold of the HTTPS interface at a time. One address holds a part, so that who sends
// slowly, or opens connections and is silent, shuts nobody else out.
const (
	mostConnections = 8192
	mostRequests    = 512 // that are read or answered; more are told to come back
	ofOneAddress    = 4   // the part of both that one may hold
	bodyTime        = 5 * time.Second
	writeTime       = 30 * time.Second
)

// slots are the requests under way. The zero value is empty. It is safe for concurrent use.
type slots struct {
	mu             sync.Mutex
	all            int
	of             map[netip.Addr]int
	since          time.Time // of the count of those served and turned away
	served, turned int
}

// Who is turned away is told when to come back.
const (
	countSpan   = 5 * time.Second // of a count; the one before it counts half
	shortestOff = time.Second
	longestOff  = 30 * time.Second
)

// busyError turns somebody away.
type busyError struct{ after time.Duration }

func (*busyError) Error() string { return "too many ask at once" }

// take takes a slot for a request, or tells when there may be one: what is begun with is answered while its asker still waits, and
// nothing is done for the others. Who has taken one gives it back.
func (s *slots) take(from netip.Addr, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil {
		s.of = map[netip.Addr]int{}
	}
	if s.all >= mostRequests || s.of[from] >= mostRequests/ofOneAddress {
		return &busyError{s.turnAway(now)}
	}
	s.all++
	s.of[from]++
	return nil
}

// turnAway returns how long it takes to serve all who were turned away lately, in whole seconds: then they find slots. The lock
// is held.
func (s *slots) turnAway(now time.Time) time.Duration {
	if d := now.Sub(s.since); d > countSpan {
		s.served, s.turned = s.served/2, s.turned/2
		if d > 2*countSpan {
			s.served, s.turned = 0, 0
		}
		s.since = now
	}
	s.turned++
	d := countSpan * time.Duration(s.turned) / time.Duration(max(s.served, 1))
	return min(max(d.Truncate(time.Second), shortestOff), longestOff)
}

func (s *slots) give(from netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all--
	s.served++
	if s.of[from]--; s.of[from] == 0 {
		delete(s.of, from)
	}
}

// sourceOf is the address that a request is counted under: an IPv6 one by its /64, which one client owns.
func sourceOf(r *http.Request) netip.Addr {
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	at, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	if at = at.Unmap().WithZone(""); at.Is6() {
		if network, err := at.Prefix(64); err == nil {
			return network.Addr()
		}
	}
	return at
}

// hurry bounds how long a request may take to arrive, and its answer to leave. When done is called the answer has left, and what
// comes next over the same connection may take longer.
func hurry(w http.ResponseWriter) (done func(), err error) {
	c, now := http.NewResponseController(w), time.Now()
	if err := errors.Join(c.SetReadDeadline(now.Add(bodyTime)), c.SetWriteDeadline(now.Add(writeTime))); err != nil {
		return nil, err
	}
	return func() {
		if c.Flush() == nil { // otherwise nothing comes next
			_ = c.SetWriteDeadline(time.Time{})
		}
	}, nil
}
