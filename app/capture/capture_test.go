package capture

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/internal/hosttest"
)

// The users of the tests: nobody has them.
const (
	sidecarUser = "62010"
	ordersUser  = "62011"
	otherUser   = "62013"
)

// ordersRules capture a service of a host.
func ordersRules() *Rules {
	return &Rules{
		Service: "orders", Users: []User{{ID: 62011}}, Sidecar: &User{ID: 62010}, Port: 15001, Serves: 7003,
	}
}

// host is one of two, whose services are captured.
type host struct {
	*hosttest.Pair
	t *testing.T
}

func newHost(t *testing.T) *host {
	t.Helper()
	return &host{Pair: hosttest.NewPair(t), t: t}
}

// on captures, or fails.
func (h *host) on(r *Rules) {
	h.t.Helper()
	if err := On(h.t.Context(), h.Name, r); err != nil {
		text, _ := r.Text()
		h.t.Fatalf("%v\n%s", err, text)
	}
}

// status is that of the one service that is captured.
func (h *host) status() Status {
	h.t.Helper()
	all, err := List(h.t.Context(), h.Name)
	if err != nil || len(all) != 1 {
		h.t.Fatalf("%v %v", all, err)
	}
	return all[0]
}

// ruleset is what nft says about the host.
func (h *host) ruleset() string {
	h.t.Helper()
	out, err := nft(h.t.Context(), h.Name, "", "--stateless", "list", "ruleset")
	if err != nil {
		h.t.Fatal(err)
	}
	return string(out)
}

func TestMain(m *testing.M) {
	if words := hosttest.Words(); len(words) > 0 {
		if err := act(words); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// dead is how long something is waited for that must not come.
const dead = 400 * time.Millisecond

// trial is a process that tries to reach something, and what it finds.
type trial struct {
	what, user, where string // where: as for dial
	answer            string // empty: none
	counts            string // the counters that grow: captured, out, in
}

// try runs a trial and says what it found and counted.
func (h *host) try(c trial) {
	h.t.Helper()
	before := h.status()
	wait := dead
	if c.answer != "" {
		wait = 20 * time.Second
	}
	out, err := h.As(h.Name, c.user, "dial", c.where, wait.String()).Output()
	got := strings.TrimSpace(string(out))
	if (err == nil) != (c.answer != "") || got != c.answer {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			got += string(exit.Stderr)
		}
		h.t.Errorf("%s: got %q, want %q", c.what, got, c.answer)
	}
	after := h.status()
	var grew []string
	if after.Captured > before.Captured {
		grew = append(grew, "captured")
	}
	if after.RefusedOut > before.RefusedOut {
		grew = append(grew, "out")
	}
	if after.RefusedIn > before.RefusedIn {
		grew = append(grew, "in")
	}
	if strings.Join(grew, " ") != c.counts {
		h.t.Errorf("%s: counted %q, want %q", c.what, grew, c.counts)
	}
}

// greeting is what a listener says; see serve.
func greeting(c net.Conn, captures bool) string {
	if !captures {
		return "hello"
	}
	to, err := Original(c)
	switch {
	case errors.Is(err, ErrDirect):
		return "direct"
	case err != nil:
		return err.Error()
	}
	return "for " + to.String()
}
