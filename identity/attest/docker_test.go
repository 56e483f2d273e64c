package attest

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// engine is a small Docker Engine API for one container (GET /containers/{id}/json, /images/{id}/json).
type engine struct {
	id     string
	pid    int
	image  string
	labels map[string]string
	asked  int
	answer string // instead, if set
}

func (e *engine) serve(t *testing.T) *Docker {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /containers/{id}/json", func(w http.ResponseWriter, r *http.Request) {
		e.asked++
		switch {
		case e.answer != "":
			_, _ = w.Write([]byte(e.answer))
		case r.PathValue("id") != e.id:
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(`{"message":"No such container"}`))
		default:
			_ = json.NewEncoder(w).Encode(map[string]any{
				"Id": e.id, "Image": e.image, "Config": map[string]any{"Labels": e.labels, "Image": "catalog:latest"},
				"State": map[string]any{"Status": "running", "Running": true, "Pid": e.pid},
			})
		}
	})
	mux.HandleFunc("GET /images/{id}/json", func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"Id": r.PathValue("id"), "RepoDigests": []string{"registry.example/catalog@sha256:" + hexB, "odd"}})
	})
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "d"))
	if err != nil {
		t.Fatal(err)
	}
	srv := &httptest.Server{Listener: l, Config: &http.Server{Handler: mux}}
	srv.Start()
	t.Cleanup(srv.Close)
	d := NewDocker(l.Addr().String())
	t.Cleanup(d.Close)
	return d
}

func TestContainerByRuntime(t *testing.T) {
	own, err := cgroupOf(int32(os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	id, err := own.container()
	if err != nil {
		t.Fatal(err)
	}
	named := cgroup{"0:": "/docker/" + hexA}
	e := &engine{id: hexA, pid: os.Getpid(), image: "sha256:" + hexA, labels: map[string]string{"app": "catalog", "": "x", "a=b": "c"}}
	d := e.serve(t)
	// This process claims by the name of its group to be in the container, but the container's first process
	// is in another group.
	if id != hexA {
		proven, err := d.selectors(t.Context(), hexA, named)
		if err != nil || len(proven) != 0 {
			t.Errorf("a name is enough: %v, %v", proven, err)
		}
	}
	// A container that the runtime does not know.
	if proven, err := d.selectors(t.Context(), hexB, cgroup{"0:": "/docker/" + hexB}); err != nil || proven != nil {
		t.Errorf("unknown container: %v, %v", proven, err)
	}
	c, err := d.inspect(t.Context(), hexA)
	if err != nil {
		t.Fatal(err)
	}
	want := []Selector{
		{Kind: ContainerImage, Value: "sha256:" + hexA},
		{Kind: ContainerImage, Value: "sha256:" + hexB},
		{ContainerLabel, "a=b", "c"},
		{ContainerLabel, "app", "catalog"},
	}
	if !slices.Equal(c.selectors, want) {
		t.Errorf("selectors %v, want %v", c.selectors, want)
	}
}

func TestContainerIsAskedOnce(t *testing.T) {
	e := &engine{id: hexA, pid: os.Getpid(), image: "sha256:" + hexA}
	d := e.serve(t)
	for range 5 {
		if _, err := d.selectors(t.Context(), hexA, cgroup{"0:": "/docker/" + hexA}); err != nil {
			t.Fatal(err)
		}
	}
	if e.asked != 2 {
		t.Errorf("asked %d times, want 2: before and after reading its groups", e.asked)
	}
}

func TestRuntimeThatCannotAnswer(t *testing.T) {
	running := `"State":{"Running":true,"Pid":1}`
	for name, answer := range map[string]string{
		"not JSON":          "hello",
		"another container": `{"Id":"` + hexB + `",` + running + `}`,
		"stopped":           `{"Id":"` + hexA + `","State":{"Running":false,"Pid":1}}`,
		"no pid":            `{"Id":"` + hexA + `","State":{"Running":true,"Pid":0}}`,
		"negative pid":      `{"Id":"` + hexA + `","State":{"Running":true,"Pid":-1}}`,
		"endless":           strings.Repeat(" ", maxInspect+1),
	} {
		e := &engine{id: hexA, answer: answer}
		if proven, err := e.serve(t).selectors(t.Context(), hexA, cgroup{"0:": "/docker/" + hexA}); err == nil {
			t.Errorf("%s: proven %v", name, proven)
		}
	}
	if proven, err := NewDocker("/nonexistent").selectors(t.Context(), hexA, cgroup{}); err == nil {
		t.Errorf("no runtime: proven %v", proven)
	}
}

func FuzzInspection(f *testing.F) {
	f.Add([]byte(`{"Id":"` + hexA + `","Image":"sha256:` + hexB + `","Config":{"Labels":{"app":"catalog"}},"State":{"Running":true,"Pid":7}}`))
	f.Add([]byte(`{"RepoDigests":["a@sha256:` + hexA + `","@","x"]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if in, err := parseInspection(text, hexA); err == nil && (in.ID != hexA || in.State.Pid <= 0 || !in.State.Running) {
			t.Errorf("accepted %+v", in)
		}
		_, _ = parseDigests(text)
	})
}

// dockerd starts a daemon of its own: no bridge, no firewall rules, state in a directory of the test.
func dockerd(t *testing.T) (docker func(args ...string) string, socket string) {
	t.Helper()
	for _, program := range []string{"dockerd", "docker"} {
		if _, err := exec.LookPath(program); err != nil || os.Getuid() != 0 {
			t.Skip("needs dockerd and root")
		}
	}
	dir, err := os.MkdirTemp("", "d") //nolint:usetesting // t.TempDir's names are too long for the daemon's sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket = filepath.Join(dir, "s")
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("dockerd", "-H", "unix://"+socket, "--data-root", filepath.Join(dir, "data"), "--exec-root", filepath.Join(dir, "x"),
		"--pidfile", filepath.Join(dir, "pid"), "--iptables=false", "--bridge=none", "--storage-driver=vfs")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		<-ended
	})
	docker = func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "docker", append([]string{"-H", "unix://" + socket}, args...)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("docker %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	for {
		select {
		case err := <-ended:
			ended <- err
			text, _ := os.ReadFile(log.Name())
			t.Skipf("dockerd does not run here: %v\n%s", err, text)
		case <-time.After(100 * time.Millisecond):
			if err := exec.CommandContext(t.Context(), "docker", "-H", "unix://"+socket, "version").Run(); err == nil {
				return docker, socket
			}
		}
	}
}

// layer is a root file system with one program, at a path that this host has too.
func layer(t *testing.T, program, at string) string {
	t.Helper()
	text, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	if err := w.WriteHeader(&tar.Header{Name: at, Mode: 0o755, Size: int64(len(text))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "layer.tar")
	if err := os.WriteFile(file, buf.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// A process in a real container is known by image and labels, and not by a path that only it sees.
func TestRealContainer(t *testing.T) {
	docker, socket := dockerd(t)
	program := probe(t)
	image := docker("import", layer(t, program, "usr/bin/env"), "catalog")
	l := listen(t)
	dir := filepath.Dir(l.Addr().String())
	id := docker("run", "-d", "--network", "none", "--label", "app=catalog", "-v", dir+":/run/api", "catalog", "/usr/bin/env", "/run/api/s")
	p, _ := accept(t, l)

	m, err := NewMatcher(map[string][]Workload{
		"catalog": {{{Kind: ContainerImage, Value: image}, {ContainerLabel, "app", "catalog"}}},
		"host":    {{{Kind: UnixPath, Value: "/usr/bin/env"}}},
		"hash":    {{{Kind: UnixSHA256, Value: hexA}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	d := NewDocker(socket)
	defer d.Close()
	a := NewAttestor(d)
	a.SetServices(m)
	proven, err := a.Prove(t.Context(), p, m)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []Selector{
		{Kind: ContainerImage, Value: image}, {ContainerLabel, "app", "catalog"}, {Kind: UnixSHA256, Value: sumOf(t, program)},
	} {
		if !slices.Contains(proven, want) {
			t.Errorf("container %s: %v is not proven; proven are %v", id, want, proven)
		}
	}
	if slices.ContainsFunc(proven, func(s Selector) bool { return s.Kind == UnixPath }) {
		t.Errorf("a path inside the container passes for one of the host: %v", proven)
	}
	if service, _, err := a.Service(t.Context(), p); service != "catalog" {
		t.Errorf("service %q, %v", service, err)
	}

	// The same program outside of the container is not the service.
	start(t, program, l.Addr().String())
	q, _ := accept(t, l)
	if service, _, err := a.Service(t.Context(), q); err == nil {
		t.Errorf("a process of the host is %q", service)
	}
	docker("rm", "-f", id)
	if service, _, err := a.Service(t.Context(), p); err == nil {
		t.Errorf("after the container's end it is %q", service)
	}
	fmt.Fprintln(t.Output(), "image", image, "container", id)
}
