package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/palisade-security/palisade/app/observe"
	"github.com/palisade-security/palisade/bus"
	"github.com/palisade-security/palisade/control"
	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/control/client"
	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/internal/fleettest"
	"github.com/palisade-security/palisade/internal/porttest"
	"github.com/palisade-security/palisade/keyring"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/store/journal"
)

// narrow is a control whose stream of events holds a megabyte, and that keeps nothing until there is room.
type narrow struct {
	*fleettest.Fleet
	o    *control.Options
	room chan struct{} // closed when there is

	mu   sync.Mutex
	kept map[string]int // by id
}

// runs starts what runs until the test ends.
func runs(t *testing.T, run func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func newNarrow(t *testing.T) *narrow {
	t.Helper()
	n := &narrow{Fleet: fleettest.New(t), room: make(chan struct{}), kept: map[string]int{}}
	ports := porttest.Free(t, 2)
	o, err := openStand(t, n.Dir, fmt.Sprintf("mesh: {control: {address: %q, bus: {listen: %q}}}\n", ports[0], ports[1]))
	if err != nil {
		t.Fatal(err)
	}
	o.Log, o.Bus.Events, o.Lease = slog.New(slog.DiscardHandler), 1<<20, 2*time.Second
	o.Keep = func(ctx context.Context, events []*event.Event) error {
		select {
		case <-n.room:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		for _, e := range events {
			n.kept[e.ID]++
		}
		return nil
	}
	o.Record = func(context.Context, control.Event) {}
	c, err := control.New(*o)
	if err != nil {
		t.Fatal(err)
	}
	runs(t, c.Run)
	n.o = o
	n.Eventually("control leads", func() bool { return c.Model() != nil && c.Status().Leads })
	return n
}

// join runs a client of control as the sidecar of web.
func (n *narrow) join() *client.Client {
	n.T.Helper()
	local := admin.Local(n.o.Socket)
	defer local.Close()
	secret, err := local.Token(n.T.Context(), admin.TokenRequest{Name: "service/web"})
	if err != nil {
		n.T.Fatal(err)
	}
	keeper, err := keyring.LocalKeeper(n.Path("keys"))
	if err != nil {
		n.T.Fatal(err)
	}
	ring, err := keyring.OpenRing(n.T.Context(), n.Path("ring"), keeper)
	if err != nil {
		n.T.Fatal(err)
	}
	web, err := client.Open(n.T.Context(), client.Options{
		Domain: "shop.example", Name: "service/web", Node: "host", Keeper: ring, Log: slog.New(slog.DiscardHandler), JoinToken: secret.Token,
		Control: []string{n.o.Listen}, Every: time.Second, Compile: func(context.Context, *model.Snapshot) (func(), error) { return func() {}, nil },
	})
	if err != nil {
		n.T.Fatal(err)
	}
	runs(n.T, web.Run)
	return web
}

func (n *narrow) now() map[string]int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return maps.Clone(n.kept)
}

// TestFullStream: while control keeps nothing the stream of events fills up, and takes nothing more; a proxy holds its events back in its
// journal, and when there is room all of them come, also those that were refused before under the same id.
func TestFullStream(t *testing.T) {
	n := newNarrow(t)
	web := n.join()
	j, _, err := journal.Open(journal.Options{Dir: n.Path("events")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	r := &recorder{journal: j, dir: n.Path("events"), name: "web", metrics: observe.NewMetrics(func() float64 { return 0 })}
	lost := uint64(0)
	d := r.deliver(n.Path("state"), func() *client.Client { return web })
	d.lost = func(_ context.Context, some uint64, why string) { lost += some; t.Error(why) }
	d.Lost = d.lost
	runs(t, d.Run)

	given := func(id string) *event.Event {
		return &event.Event{
			Time: time.Now(), ID: id, Side: event.SideInbound, Listener: "web/inbound", Service: "web", Allowed: true, Status: 200, Path: "/" + strings.Repeat("x", 16<<10),
		}
	}
	record := func(from, to int) {
		for i := from; i < to; i++ {
			if err := r.Durable(t.Context(), given(fmt.Sprint("id-", i))); err != nil {
				t.Fatal(err)
			}
		}
	}
	record(0, 100) // 1.6 MiB
	deliver := func(id string) error {
		var lines []byte
		for i := range 20 { // more than what may be left
			lines = append(event.AppendJSON(lines, given(fmt.Sprint(id, "-", i))), '\n')
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		return web.Deliver(ctx, id, lines)
	}
	taken, refused := 0, error(nil)
	for ; refused == nil && taken < 10; taken++ {
		refused = deliver(fmt.Sprint("probe-", taken))
	}
	if !errors.Is(refused, bus.ErrFull) {
		t.Fatalf("a full stream: %v", refused)
	}
	record(100, 120)
	if d.Behind() == 0 || len(n.now()) > 0 {
		t.Errorf("behind by %s, %d kept", d.Behind(), len(n.now()))
	}
	close(n.room)
	n.Eventually("what was refused is taken", func() bool { return deliver(fmt.Sprint("probe-", taken-1)) == nil })
	all := 120 + 20*taken
	n.Eventually("all events are kept, and the journal is delivered", func() bool { return len(n.now()) == all && d.Behind() == 0 })
	record(120, 130)
	n.Eventually("events go on", func() bool { return len(n.now()) == all+10 })
	t.Logf("%d messages of 330 KB taken before the stream was full; %d events kept", taken-1, len(n.now()))
	if lost != 0 {
		t.Errorf("%d are lost", lost)
	}
}
