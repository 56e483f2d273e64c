package process

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/app/isolate"
)

// TestMain is also the inside of isolated services.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == isolate.Verb {
		os.Exit(isolate.Inside(context.Background(), os.Args[2:], os.Stderr))
	}
	if len(os.Args) == 3 && os.Args[1] == "listen" {
		ln, err := net.Listen("tcp", os.Args[2])
		if err != nil {
			os.Exit(1)
		}
		for { // until it is ended
			_, _ = ln.Accept()
		}
	}
	os.Exit(m.Run())
}

// TestIsolated starts a shell that tells what it sees, builds before it starts, and stops in order.
func TestIsolated(t *testing.T) {
	lines := make(chan string, 10)
	at := netip.MustParseAddrPort("127.1.0.1:80")
	dir := t.TempDir()
	var pods int
	g := New([]Spec{{
		Name: "one", Dir: dir, Env: os.Environ(), Build: []string{"sh", "-c", "echo built > built"}, Address: at.String(),
		Command: []string{"sh", "-c", "trap 'echo drained; exit 0' TERM; cat built; grep catalog /etc/hosts; while :; do sleep 0.05; done"},
		Isolate: &isolate.Spec{Hosts: map[string]netip.Addr{"catalog": at.Addr()}, Listen: []netip.AddrPort{at}, Folder: dir, Processes: true},
	}}, Events{
		Output: func(_, line string) { lines <- line },
		Ready:  func(string, time.Duration) {},
		Isolated: func(_ string, p *isolate.Pod) error {
			pods += len(p.Listeners) // one of them stands in for the service's own port
			return nil
		},
	})
	if err := g.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"built", "127.1.0.1 catalog"} {
		if got := <-lines; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	g.Stop()
	close(lines)
	var last string
	for line := range lines {
		last = line
	}
	if err := <-g.Exited(); !errors.Is(err, errExitZero) {
		t.Errorf("got %v", err)
	}
	if last != "drained" || pods != 1 {
		t.Errorf("the last line is %q; %d listeners", last, pods)
	}
}

// TestDrains holds that what a wrapper has started may finish its work although the wrapper ends at once, and that whatever does not
// end in time, or has left the group, ends with it all the same.
func TestDrains(t *testing.T) {
	lines := make(chan string, 10)
	g := New([]Spec{{
		Name: "one", Dir: t.TempDir(), Env: os.Environ(), Free: true,
		Command: []string{"sh", "-c", "(trap 'sleep 0.3; echo finished; exit 0' TERM; echo begun; while :; do sleep 0.05; done) & wait"},
		Isolate: &isolate.Spec{Folder: t.TempDir(), Processes: true},
	}}, Events{
		Output:   func(_, line string) { lines <- line },
		Ready:    func(string, time.Duration) {},
		Isolated: func(string, *isolate.Pod) error { return nil },
	})
	if err := g.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := <-lines; got != "begun" {
		t.Errorf("got %s", got)
	}
	g.Stop()
	var ended *Ended
	if err := <-g.Exited(); !errors.As(err, &ended) || ended.Code != 128+15 {
		t.Errorf("got %v", err)
	}
	close(lines)
	finished := false
	for line := range lines {
		finished = finished || line == "finished" // the shell may have more to say
	}
	if !finished {
		t.Error("the work was not finished")
	}
}

// TestBuildFails holds that a service whose build fails is not started, and that its output is shown.
func TestBuildFails(t *testing.T) {
	var lines []string
	g := New([]Spec{{Name: "one", Dir: t.TempDir(), Build: []string{"sh", "-c", "echo why; exit 3"}, Command: []string{"true"}, Address: "127.0.0.1:1"}}, Events{
		Output: func(_, line string) { lines = append(lines, line) },
	})
	if err := g.Start(t.Context()); err == nil || !strings.Contains(err.Error(), `building service "one": exit status 3`) || strings.Join(lines, "") != "why" {
		t.Errorf("got %v, %v", err, lines)
	}
}
