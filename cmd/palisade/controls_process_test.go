package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/internal/fleettest"
	"github.com/palisade-security/palisade/internal/pgtest"
	"github.com/palisade-security/palisade/internal/porttest"
	"github.com/palisade-security/palisade/topology"
)

// startBus runs a nats-server with what "palisade bus-server" wrote.
func startBus(t *testing.T, d *daemon, at, folder string) {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "nats-server")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "github.com/nats-io/nats-server/v2").CombinedOutput(); err != nil {
		t.Fatalf("building nats-server: %v\n%s", err, out)
	}
	d.Write("nats.conf", fmt.Sprintf("listen: %q\njetstream { store_dir: %q, sync_interval: always }\ninclude %q\n", at, d.Path("jetstream"), "./"+folder+"/palisade.conf"))
	cmd := exec.Command(binary, "-c", d.Path("nats.conf"))
	cmd.Stdout, cmd.Stderr = &d.Messages, &d.Messages
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	d.Eventually("the bus answers", func() bool {
		conn, err := net.Dial("tcp", at)
		return err == nil && conn.Close() == nil
	})
}

// TestTwoControls runs two controls over one PostgreSQL and one bus. One leads, both answer; a proxy joins by one and is
// known to the other; what the follower is asked the leader does; the leader is killed and the other takes over, also the ledger of
// what proxies deliver all the while. Then PostgreSQL is killed.
func TestTwoControls(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT RUN: -short leaves PostgreSQL and nats-server out")
	}
	var postgres pgtest.Server
	t.Cleanup(postgres.Stop)
	location := postgres.Database(t)
	t.Setenv("CONTROL_STORE", location)
	busAt := porttest.Free(t, 1)[0]
	one := newControl(t, fmt.Sprintf("store: {from_env: CONTROL_STORE}\n    bus: {urls: [%q]}\n    publish_ledger: true", "tls://"+busAt))
	one.must("bus-server", "nats-1", "--out="+one.Path("bus"), one.Dir)
	startBus(t, one, busAt, "bus")
	one.startControl()
	if out := one.must("status"); !strings.Contains(out, "bus/nats-1: its certificate ends in 23h5") {
		t.Errorf("status:\n%s", out)
	}

	two := second(t, one)
	orders := one.join("service/orders", one.must("join", "service/orders"), two.at)
	web := two.join("service/web", two.must("join", "service/web"), one.at)
	for _, d := range []*daemon{one, two} {
		d.Eventually("both proxies are known", func() bool { return d.known(orders) && d.known(web) })
	}
	if one.status().Leads == two.status().Leads {
		t.Error("not one of them leads")
	}
	if out := two.must("revoke", "service/payments"); !strings.Contains(out, "at 2 proxies") {
		t.Errorf("through the follower: %s", out)
	}
	two.Says("another control keeps the ledger")
	delivered := newLoad(t, orders)
	delivered.covered(two, 5*loadBatch)
	w := newWitness(t, one)
	w.signs(one) // which appends
	w.signs(two) // which stands by
	one.kill()
	two.Eventually("the other leads", func() bool { return two.status().Leads })
	delivered.covered(two, 5*loadBatch)
	w.signs(two)
	before := orders.version()
	two.Edit("palisade.yaml", "callers: [web]", "callers: [web, payments]")
	two.must("apply", two.Dir, "--yes", "--watch=1s")
	two.Eventually("orders has the change", func() bool { return orders.version() != before })
	two.must("restore", "service/payments")
	if out := two.must("history", "--acts"); !strings.Contains(out, "bus/nats-1") {
		t.Errorf("acts:\n%s", out)
	}
	one.start("control", one.Dir)
	one.Says("palisade control shop")
	one.Eventually("the first is back and follows", func() bool { s := one.status(); return s.InForce.Number == 2 && !s.Leads })
	sameMap(t, one, two, 1000)
	delivered.crashed(t, &postgres, location, two)
	w.signs(one)
	w.signs(two)
	altered(t, &postgres, location, one, two)
	w.refuses(one)
	w.refuses(two)
}

// sameMap waits until the map that two controls keep together has some events, whichever is asked, and wants the models in it that were in force.
func sameMap(t *testing.T, one, two *daemon, events int) {
	t.Helper()
	for _, d := range []*daemon{one, two} {
		d.Eventually("the map is kept", func() bool {
			var m topology.Map
			r := verb(t, nil, "map", "--at=now", "--format=json", "--from="+d.Path(".palisade"))
			return r.code == exitOK && json.Unmarshal([]byte(r.out), &m) == nil && int(m.Events) >= events && len(m.Models) == 2
		})
	}
}

// second starts another control beside one: it has a model and a state of its own, and the ring of the first with the key that opens it.
func second(t *testing.T, one *daemon) *daemon {
	t.Helper()
	two := &daemon{Fleet: fleettest.New(t), at: porttest.Free(t, 1)[0], staff: one.staff}
	for _, name := range []string{"palisade.yaml", "staff.json"} {
		two.Write(name, one.Read(name))
	}
	args := []string{"control", "--listen=" + two.at, "--name=two", two.Dir}
	two.start(args...)
	two.Eventually("the other refuses a ring of its own", func() bool {
		return strings.Contains(two.Messages.String(), "copy the folders control/ring and control/keys")
	})
	<-two.done
	for _, name := range []string{"ring", "keys"} {
		must(t, os.RemoveAll(two.Path(".palisade/control/"+name)))
		must(t, os.CopyFS(two.Path(".palisade/control/"+name), os.DirFS(one.Path(".palisade/control/"+name))))
	}
	must(t, filepath.Walk(two.Path(".palisade/control"), func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		return os.Chmod(path, 0o600)
	}))
	two.start(args...)
	two.Says("palisade control shop")
	return two
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
