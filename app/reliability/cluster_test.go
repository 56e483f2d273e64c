package reliability

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/internal/fleettest"
	"github.com/palisade-security/palisade/internal/pgtest"
)

// newCluster is a fleet with three nats-servers, a PostgreSQL and two controls, each on a host of its own.
func newCluster(t *testing.T, programs *fleettest.Programs) *fleet {
	t.Helper()
	f := newFleet(t, programs)
	if err := os.Chmod(f.dir, 0o711); err != nil { // PostgreSQL's user goes through it
		t.Fatal(err)
	}
	f.startPostgres()
	var urls []string
	for i := range 3 {
		n := f.host(fmt.Sprint("bus-", i+1))
		f.bus = append(f.bus, n)
		urls = append(urls, fmt.Sprintf("%q", "tls://"+n.IP+":4222"))
	}
	model := filepath.Join(f.dir, "palisade.yaml")
	store := "STORE=postgres://postgres@" + f.postgres.IP + "/postgres?" + url.Values{"sslmode": {"verify-full"}, "sslrootcert": {f.path("pg.pem")}}.Encode()
	one, two := f.control("control-1", model, store), f.control("control-2", model, store)
	f.write("palisade.yaml", fmt.Sprintf(modelText, "1h", one.IP, "store: {from_env: STORE}\n    bus: {urls: ["+strings.Join(urls, ", ")+"]}"))
	for _, n := range f.bus {
		if _, err := one.Run("env", store, f.palisade(), "bus-server", n.Name, "--out", n.state, "--state", one.state, model); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range f.bus {
		f.configure(n)
		n.start()
	}
	if err := os.CopyFS(two.state, os.DirFS(one.state)); err != nil { // the ring, which all controls have
		t.Fatal(err)
	}
	one.start()
	one.says(t, "this control leads")
	two.start()
	f.join()
	return f
}

func (f *fleet) path(name string) string { return filepath.Join(f.dir, name) }

// configure writes the configuration of a nats-server.
func (f *fleet) configure(n *node) {
	f.t.Helper()
	var routes []string
	for _, m := range f.bus {
		routes = append(routes, "nats-route://"+m.IP+":6222")
	}
	text := fmt.Sprintf("server_name: %s\nlisten: \"%s:4222\"\nping_interval: \"5s\"\njetstream { store_dir: %q, sync_interval: always }\ncluster { name: lab, listen: \"%s:6222\", ping_interval: \"2s\", routes: [%s] }\n",
		n.Name, n.IP, filepath.Join(n.state, "streams"), n.IP, strings.Join(routes, ", "))
	n.args = []string{f.programs.Path(f.t, "nats-server"), "-c", f.write(n.Name+".conf", text+fleettest.Read(f.t, filepath.Join(n.state, "palisade.conf")))}
}

// startPostgres starts Debian's PostgreSQL with a certificate of its own on a host.
func (f *fleet) startPostgres() {
	f.t.Helper()
	n := f.host("postgres")
	f.postgres = n
	f.certificate(n)
	var as []string
	if os.Getuid() == 0 { // PostgreSQL refuses to be root
		owner := "nobody"
		if _, err := user.Lookup("postgres"); err == nil {
			owner = "postgres"
		}
		if _, err := n.Run("chown", "-R", owner, n.state); err != nil {
			f.t.Fatal(err)
		}
		as = []string{"setpriv", "--reuid=" + owner, "--regid=nogroup", "--clear-groups", "--"}
	}
	data := filepath.Join(n.state, "data")
	if _, err := n.Run(append(as, program("initdb"), "-D", data, "-U", "postgres", "-A", "trust", "--no-sync")...); err != nil {
		f.t.Fatal(err)
	}
	access := filepath.Join(n.state, "hba.conf")
	if err := os.WriteFile(access, []byte("hostssl all all 10.77.0.0/24 trust\n"), 0o644); err != nil {
		f.t.Fatal(err)
	}
	n.args = append(as, program("postgres"), "-D", data, "-k", n.state, "-c", "listen_addresses="+n.IP, "-c", "hba_file="+access,
		"-c", "ssl=on", "-c", "ssl_cert_file="+filepath.Join(n.state, "cert.pem"), "-c", "ssl_key_file="+filepath.Join(n.state, "key.pem"))
	n.start()
	n.says(f.t, "ready to accept connections")
}

// program is one of PostgreSQL's.
func program(name string) string {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if len(found) == 0 {
		return name
	}
	return slices.Max(found)
}

// certificate makes a certificate for a host, signed by itself.
func (f *fleet) certificate(n *node) {
	f.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.ParseIP(n.IP)}, IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		f.t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		f.t.Fatal(err)
	}
	public := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
	f.write("pg.pem", public)
	f.write(filepath.Join(n.Name, "cert.pem"), public)
	f.write(filepath.Join(n.Name, "key.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
}

// crash kills PostgreSQL with all its processes, without a word to its disk.
func (f *fleet) crash() {
	pgtest.KillAll(f.postgres.Pid())
	f.postgres.Kill()
}

// leader is the control that leads.
func (f *fleet) leader() *node {
	f.t.Helper()
	var found *node
	eventually(f.t, "a control leads", func() bool {
		for _, c := range f.controls {
			if s, err := f.admin(c).Status(f.t.Context()); err == nil && s.Leads {
				found = c
			}
		}
		return found != nil
	})
	return found
}

// admin speaks to a control as an administrator on its host does.
func (f *fleet) admin(c *node) *admin.Client {
	a := admin.Local(filepath.Join(c.Inside(c.state), "control.sock"))
	f.t.Cleanup(a.Close)
	return a
}

// acts is what administrators do while a cluster suffers: they let somebody join, again and again.
type acts struct {
	f            *fleet
	acknowledged int
	stop         context.CancelFunc
	done         chan struct{}
}

func (f *fleet) act() *acts {
	ctx, cancel := context.WithCancel(f.t.Context())
	a := &acts{f: f, stop: cancel, done: make(chan struct{})}
	var clients []*admin.Client
	for _, c := range f.controls {
		clients = append(clients, f.admin(c))
	}
	go func() {
		defer close(a.done)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			once, cancel := context.WithTimeout(ctx, patience)
			if _, err := clients[i%len(clients)].Token(once, admin.TokenRequest{Name: "service/back"}); err == nil {
				a.acknowledged++
			}
			cancel()
		}
	}()
	return a
}

// finish ends them and returns how many were acknowledged and how many of those are not in the truth. Before is how many
// were there when they began.
func (a *acts) finish(before int) (acknowledged, gone int) {
	a.stop()
	<-a.done
	return a.acknowledged, max(0, a.acknowledged-(a.f.tokens()-before))
}

// tokens counts the tokens that are in the truth.
func (f *fleet) tokens() (n int) {
	f.t.Helper()
	leader := f.admin(f.leader())
	for after := int64(0); ; {
		page, err := leader.Acts(f.t.Context(), after)
		if err != nil {
			f.t.Fatal(err)
		}
		if len(page) == 0 {
			return n
		}
		for _, act := range page {
			if act.Verb == "token" && act.Outcome == "done" {
				n++
			}
			after = act.Number
		}
	}
}

// cluster are the troubles of a fleet whose control stands on several hosts.
func cluster() []row {
	killed := func(nodes func(*fleet) []*node) func(*fleet) time.Time {
		return func(f *fleet) time.Time {
			all := nodes(f)
			for _, n := range all {
				n.Kill()
			}
			pause(f.t, *spell)
			over := time.Now()
			for _, n := range all {
				n.start()
			}
			return over
		}
	}
	return []row{
		{name: "`kill -9` of a bus node, away for a while", do: killed(func(f *fleet) []*node { return f.bus[:1] })},
		{name: "partition: a bus node from the other two", do: func(f *fleet) time.Time {
			f.bus[1].Cut(f.bus[0].Host, f.bus[2].Host)
			pause(f.t, *spell)
			f.lab.Heal()
			return time.Now()
		}},
		{name: "partition: a bus node from everybody", do: func(f *fleet) time.Time {
			f.bus[2].Cut()
			pause(f.t, *spell)
			f.lab.Heal()
			return time.Now()
		}},
		{name: "quorum lost (`kill -9` of two bus nodes) and restored", do: killed(func(f *fleet) []*node { return f.bus[:2] })},
		{name: "every bus node restarted, one after the other", do: func(f *fleet) time.Time {
			for _, n := range f.bus {
				if err := n.Stop(); err != nil {
					f.t.Logf("%s: %v", n.Name, err)
				}
				n.start()
				n.says(f.t, "Server is ready")
				pause(f.t, *spell/2)
			}
			return time.Now()
		}},
		{name: "`kill -9` of the control that leads, away for a while", do: killed(func(f *fleet) []*node { return []*node{f.leader()} })},
		{name: "`kill -9` of a bus node and of the control that leads, which comes back first", do: func(f *fleet) time.Time {
			node, control := f.bus[0], f.leader()
			node.Kill()
			control.Kill()
			pause(f.t, *spell/2)
			control.start()
			eventually(f.t, control.Name+" starts without "+node.Name, func() bool {
				_, err := f.admin(control).Status(f.t.Context())
				return err == nil
			})
			over := time.Now()
			node.start()
			return over
		}},
		{name: "PostgreSQL crashes, away for a while", do: func(f *fleet) time.Time {
			f.crash()
			pause(f.t, *spell)
			over := time.Now()
			f.postgres.start()
			return over
		}},
		{name: "partition: PostgreSQL from everybody", do: func(f *fleet) time.Time {
			f.postgres.Cut()
			pause(f.t, *spell)
			f.lab.Heal()
			return time.Now()
		}},
	}
}
