package reliability

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/internal/fleettest"
	"github.com/palisade-security/palisade/internal/netlab"
)

const (
	domain = "lab.example"
	answer = "front and back\n" // what a request is answered
	inside = "127.0.0.1:8000"   // where each service listens on its host
	callee = "127.0.0.1:15001"  // where front finds back
)

// front asks back, whose answer is part of its own.
func front([]string) int {
	return serve(func(w http.ResponseWriter, r *http.Request) {
		q, err := http.NewRequestWithContext(r.Context(), http.MethodGet, "http://"+callee+"/", nil)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		q.Host = "back"
		q.Header.Set("Traceparent", r.Header.Get("Traceparent"))
		resp, err := http.DefaultClient.Do(q)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		w.WriteHeader(resp.StatusCode)
		fmt.Fprintf(w, "front and %s", text)
	})
}

func back([]string) int {
	return serve(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "back") })
}

func serve(do http.HandlerFunc) int {
	fmt.Println((&http.Server{Addr: inside, Handler: do, ReadHeaderTimeout: time.Minute}).ListenAndServe())
	return 1
}

// fleet is a fleet on hosts of its own: control, edge, and two services with their sidecars.
type fleet struct {
	t        *testing.T
	lab      *netlab.Lab
	programs *fleettest.Programs
	dir      string
	controls []*node
	edge     *node
	front    *node
	back     *node
	bus      []*node // of a cluster: nats-servers
	postgres *node   // of a cluster
}

// node is a host with the part of the fleet that runs there.
type node struct {
	*netlab.Host
	*netlab.Process
	kernel *netlab.Kernel // nil: nobody watches its system calls, which costs
	args   []string
	env    []string
	state  string
}

// start starts the node's process, or starts it again.
func (n *node) start() {
	n.Process = n.Start(netlab.Program{Args: n.args, Env: n.env, Kernel: n.kernel})
}

// says waits for a message of the node.
func (n *node) says(t *testing.T, text string) {
	t.Helper()
	eventuallyElse(t, n.Name+" says "+text, func() bool {
		if ended, err := n.Ended(); ended {
			t.Fatalf("%s ended: %v\n%s", n.Name, err, n.Process)
		}
		return strings.Contains(n.String(), text)
	}, n.String)
}

const modelText = `version: 1
fleet: lab
trust_domain: ` + domain + `
audit: {mode: strict}
edge:
  listeners: {main: {address: "0.0.0.0:8443", tls: {local: true}}}
services:
  front: {address: "http://127.0.0.1:8000", expose: [{host: lab.localhost, path: /, allow: [{anyone: true}]}]}
  back: {address: "http://127.0.0.1:8000", callers: [front]}
mesh:
  svid: {lifetime: %s}
  stale: serve
  control:
    address: "%s:9950"
    %s
`

// newFleet makes the hosts; nothing runs yet but services.
func newFleet(t *testing.T, programs *fleettest.Programs) *fleet {
	t.Helper()
	f := &fleet{t: t, lab: netlab.New(t), programs: programs}
	dir, err := os.MkdirTemp("", "rel-") //nolint:usetesting // paths of sockets lie in it, which must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	f.dir = dir
	f.edge, f.front, f.back = f.host("edge"), f.host("front"), f.host("back")
	for _, n := range []*node{f.front, f.back} {
		n.Start(netlab.Program{Args: f.lab.Self(n.Name)})
	}
	return f
}

// host makes a host with a folder for its state.
func (f *fleet) host(name string) *node {
	f.t.Helper()
	n := &node{Host: f.lab.Host(name), state: filepath.Join(f.dir, name)}
	if err := os.MkdirAll(n.state, 0o700); err != nil {
		f.t.Fatal(err)
	}
	return n
}

func (f *fleet) palisade() string { return f.programs.Path(f.t, "palisade") }

// write writes a file of the fleet and returns its path.
func (f *fleet) write(name, text string) string {
	f.t.Helper()
	path := filepath.Join(f.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
	return path
}

// control adds a host with a control.
func (f *fleet) control(name, model string, env ...string) *node {
	f.t.Helper()
	n := f.host(name)
	n.args = []string{f.palisade(), "control", "--state", n.state, "--listen", n.IP + ":9950", "--reach", n.IP + ":9950", "--name", name, model}
	n.env = env
	f.controls = append(f.controls, n)
	return n
}

// join starts edge and sidecars, which join the fleet, and waits until all of it answers.
func (f *fleet) join() {
	f.t.Helper()
	var at []string
	for _, c := range f.controls {
		at = append(at, c.IP+":9950")
	}
	for _, p := range []struct {
		n    *node
		name string
		args []string
	}{
		{f.edge, "edge/edge", []string{"edge"}},
		{f.back, "service/back", []string{"sidecar", "--service", "back"}},
		{f.front, "service/front", []string{"sidecar", "--service", "front", "--outbound", "back=" + callee}},
	} {
		out, err := f.controls[0].Run(f.palisade(), "join", p.name, "--state", f.controls[0].state)
		if err != nil {
			f.t.Fatal(err)
		}
		token := f.write(p.n.Name+".token", out)
		p.n.args = append([]string{f.palisade(), "-q"}, append(p.args, "--state", p.n.state, "--node", p.n.Name, "--trust-domain", domain,
			"--control", strings.Join(at, ","), "--join-token-file", token)...)
		p.n.start()
	}
	f.edge.says(f.t, "serves https://")
	f.answers()
}

// answers waits until a request gets its answer.
func (f *fleet) answers() {
	f.t.Helper()
	l := &load{t: f.t, url: "https://" + f.address() + "/", host: "lab.localhost"}
	l.client = oneShot()
	var last request
	eventuallyElse(f.t, "the fleet answers", func() bool {
		last = l.send(f.t.Context())
		return last.ok
	}, func() string {
		return fmt.Sprint(last.why, "\nedge: ", f.edge.Process, "\nfront: ", f.front.Process, "\nback: ", f.back.Process)
	})
}

func (f *fleet) address() string { return f.edge.IP + ":8443" }

// newSmall is a fleet with one control.
func newSmall(t *testing.T, programs *fleettest.Programs) *fleet {
	t.Helper()
	f := newFleet(t, programs)
	c := f.control("control", filepath.Join(f.dir, "palisade.yaml"))
	for _, n := range []*node{c, f.back} {
		n.Disk(n.state, 512<<20) // one that can be filled; the events of a run need room
		n.kernel = new(netlab.Kernel)
	}
	f.write("palisade.yaml", fmt.Sprintf(modelText, "1h", c.IP, "bus: {listen: \""+c.IP+":4222\"}"))
	c.start()
	c.says(t, "this control leads")
	f.join()
	return f
}
