package mesh

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/identity/peer"
)

func at(n int) net.Addr { return &net.TCPAddr{IP: net.IPv4(10, 0, byte(n>>8), byte(n)), Port: 99} }

// TestRefusalsAreBounded floods a sidecar: the record grows by a bounded number of events, and none of the flood goes uncounted.
func TestRefusalsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all []*event.Event
		r := newRefusals("catalog", func(_ context.Context, e *event.Event) { all = append(all, e) })
		none := &peer.Refusal{Reason: peer.NoCertificate}
		flood := func(n, addresses int) {
			for i := range n {
				r.add(t.Context(), at(i%addresses), none)
			}
		}
		flood(1000, 1)
		if len(all) != 1 || all[0].Client != "10.0.0.0" || all[0].ClientPort != 99 || all[0].Act.Proxy != "catalog" || all[0].Act.Reason != "no_certificate" {
			t.Fatalf("%d events, first %+v", len(all), all)
		}
		r.add(t.Context(), at(0), &peer.Refusal{Reason: peer.Revoked, Peer: "spiffe://shop.example/service/web"})
		r.add(t.Context(), at(1), none)
		if len(all) != 3 || all[1].Act.Who != "spiffe://shop.example/service/web" {
			t.Fatalf("another reason and another address are others: %d events", len(all))
		}
		time.Sleep(refusalsEvery)
		flood(1, 1)
		if len(all) != 4 || all[3].Act.Omitted != 999 {
			t.Fatalf("%d events, %d omitted", len(all), all[len(all)-1].Act.Omitted)
		}
		all = nil
		flood(100_000, 10_000)
		if len(all) > mostRefused {
			t.Errorf("%d events of one flood", len(all))
		}
		for range 2 { // what was left out is told by what comes later
			time.Sleep(refusalsEvery)
			flood(10_000, 10_000)
		}
		time.Sleep(refusalsEvery)
		for i := range 10_000 {
			r.add(t.Context(), at(i), none)
			time.Sleep(refusalsEvery)
		}
		r.tell(t.Context(), true)
		if got, want := counted(all), int64(130_000); got != want {
			t.Errorf("counted %d of %d", got, want)
		}
	})
}

func counted(all []*event.Event) (n int64) {
	for _, e := range all {
		n += 1 + e.Act.Omitted
	}
	return n
}

// TestRefusalsAreTold holds that what was left out is told once it is quiet, and at the end, though nobody is refused any more; and
// that this does not let anybody fill the record.
func TestRefusalsAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var told []*event.Event
		r := newRefusals("catalog", func(_ context.Context, e *event.Event) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, e)
		})
		recorded := func() []*event.Event {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(told)
		}
		ctx, end := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { r.run(ctx); close(ended) }()
		none := &peer.Refusal{Reason: peer.NoCertificate}
		flood := func(n int) {
			for range n {
				r.add(t.Context(), at(7), none)
			}
		}
		flood(100)
		time.Sleep(3 * refusalsQuiet)
		all := recorded()
		if len(all) != 2 || all[1].Act.Omitted != 98 || all[1].Act.Reason != "no_certificate" || all[1].Client != "10.0.0.7" || all[1].Act.Proxy != "catalog" {
			t.Fatalf("%d events, the last %+v", len(all), all[len(all)-1])
		}
		began := time.Now()
		for time.Since(began) < time.Hour {
			flood(2)
			time.Sleep(3 * refusalsQuiet)
		}
		if n := len(recorded()); n > 2+2*60+2 {
			t.Errorf("%d events in an hour of one address", n)
		}
		flood(10)
		end()
		<-ended
		if got, want := counted(recorded()), int64(100+2*1200+10); got != want {
			t.Errorf("counted %d of %d", got, want)
		}
	})
}

// TestRefusalOf holds which ends of a handshake are events, and why.
func TestRefusalOf(t *testing.T) {
	for _, c := range []struct {
		err    error
		reason string
	}{
		{fmt.Errorf("shaking: %w", &peer.Refusal{Reason: peer.UnknownDomain, Peer: "spiffe://other.example/x"}), "unknown_trust_domain"},
		{&net.OpError{Op: "remote error", Err: tls.AlertError(42)}, "refused_by_peer"},
		{tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, "no_tls"},
		{errors.New("tls: client offered only unsupported versions: [302 301]"), "handshake_failed"},
		{io.EOF, ""},
		{os.ErrDeadlineExceeded, ""},
		{context.Canceled, ""},
		{&net.OpError{Op: "read", Err: errors.New("connection reset by peer")}, ""},
	} {
		a := refusalOf(c.err)
		if (a == nil) != (c.reason == "") || a != nil && a.Reason != c.reason {
			t.Errorf("%v: got %+v, want %q", c.err, a, c.reason)
		}
		if a != nil && a.Who != "" {
			t.Errorf("%v: believes %q", c.err, a.Who)
		}
	}
}

// TestNoHTTP holds that whoever speaks something else where HTTP is spoken leaves a record: a refused request if it begins like
// none, a refused connection if it never ends what it begins.
func TestNoHTTP(t *testing.T) {
	f := newFleet(t)
	for _, says := range []string{"\x00\x00\x00\x08\x04\xd2\x16\x2f", "AMQP\x00\x00\x09\x01"} { // PostgreSQL's, AMQP's
		var d net.Dialer
		c, err := d.DialContext(t.Context(), "tcp", f.toward["web catalog"])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, says); err != nil {
			t.Fatal(err)
		}
		if says[0] == 0 {
			if seen := f.records.take(t, 1); seen[0] != "web/outbound  catalog request-line" {
				t.Errorf("recorded as %q", seen)
			}
		} else {
			_ = c.(*net.TCPConn).CloseWrite()
			if e := f.records.act(t, event.KindRefused, "no_http"); e.Act.Proxy != "web" || !strings.Contains(e.Act.Text, `calling "catalog"`) {
				t.Errorf("got %+v", e.Act)
			}
		}
		_ = c.Close()
	}
}
