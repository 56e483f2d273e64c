package attest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"slices"
	"strconv"
	"testing"
)

// everything asks for all that can be known of a local process.
func everything(t testing.TB) *Matcher {
	t.Helper()
	m, err := NewMatcher(map[string][]Workload{"any": {
		{{Kind: UnixUser, Value: "x"}, {Kind: UnixPath, Value: "/x"}},
		{{Kind: UnixSHA256, Value: hex.EncodeToString(make([]byte, 32))}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func sumOf(t testing.TB, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

func TestProcessIsProven(t *testing.T) {
	l, program := listen(t), probe(t)
	start(t, program, l.Addr().String())
	p, _ := accept(t, l)
	proven, err := NewAttestor(nil).Prove(t.Context(), p, everything(t))
	if err != nil {
		t.Fatal(err)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	want := []Selector{
		{Kind: UnixUID, Value: strconv.Itoa(os.Getuid())},
		{Kind: UnixUser, Value: me.Username},
		{Kind: UnixPath, Value: program},
		{Kind: UnixSHA256, Value: sumOf(t, program)},
	}
	if !slices.Equal(proven, want) {
		t.Errorf("proven %v, want %v", proven, want)
	}
}

// What was not asked for is not found out.
func TestOnlyWhatIsNeededIsProven(t *testing.T) {
	l := listen(t)
	start(t, probe(t), l.Addr().String())
	p, _ := accept(t, l)
	m, err := NewMatcher(map[string][]Workload{"shop": {{{Kind: UnixUID, Value: "7"}}}})
	if err != nil {
		t.Fatal(err)
	}
	a := NewAttestor(nil)
	proven, err := a.Prove(t.Context(), p, m)
	if err != nil || len(proven) != 1 || len(a.hashes.known) != 0 {
		t.Errorf("proven %v, %v", proven, err)
	}
}

// A program that was replaced on disk while it runs keeps the hash of what runs and loses its path.
func TestReplacedProgramHasNoPath(t *testing.T) {
	l, program := listen(t), probe(t)
	was := sumOf(t, program)
	start(t, program, l.Addr().String())
	p, _ := accept(t, l)
	if err := os.Remove(program); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, []byte("another"), 0o755); err != nil {
		t.Fatal(err)
	}
	proven, err := NewAttestor(nil).Prove(t.Context(), p, everything(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range proven {
		if s.Kind == UnixPath {
			t.Errorf("path %q proven", s.Value)
		}
	}
	if !slices.Contains(proven, Selector{Kind: UnixSHA256, Value: was}) {
		t.Errorf("proven %v, want the hash %s of what runs", proven, was)
	}
}

func TestEndedProcessProvesNothing(t *testing.T) {
	l := listen(t)
	cmd := start(t, probe(t), l.Addr().String())
	p, conn := accept(t, l)
	if err := p.Alive(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	gone(t, conn)
	_ = cmd.Wait()
	if err := p.Alive(); !errors.Is(err, errGone) {
		t.Errorf("alive: %v", err)
	}
	if proven, err := NewAttestor(nil).Prove(t.Context(), p, everything(t)); err == nil {
		t.Errorf("proven %v", proven)
	}
}

// A connection that outlives whoever opened it, in the hands of a child, proves nothing.
func TestInheritedConnectionProvesNothing(t *testing.T) {
	l := listen(t)
	conns := make(chan error, 1)
	cmd := exec.CommandContext(t.Context(), probe(t), l.Addr().String(), "leave")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	conn, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() // ends the heir
	p, err := NewPeer(conn)
	go func() { conns <- cmd.Wait() }()
	if werr := <-conns; werr != nil {
		t.Fatal(werr)
	}
	if err != nil {
		return // it was gone before we could look: refused as well
	}
	defer p.Close()
	if proven, err := NewAttestor(nil).Prove(t.Context(), p, everything(t)); !errors.Is(err, errGone) {
		t.Errorf("proven %v, %v", proven, err)
	}
}

// A pid that is given out again is not the process that connected.
func TestReusedPIDProvesNothing(t *testing.T) {
	const last = "/proc/sys/kernel/ns_last_pid"
	if f, err := os.OpenFile(last, os.O_WRONLY, 0); err != nil {
		t.Skipf("needs the right to choose pids: %v", err)
	} else {
		f.Close()
	}
	l, program := listen(t), probe(t)
	for range 50 {
		first := exec.CommandContext(t.Context(), program, l.Addr().String())
		if err := first.Start(); err != nil {
			t.Fatal(err)
		}
		p, _ := accept(t, l)
		_ = first.Process.Kill()
		_ = first.Wait()
		if err := os.WriteFile(last, []byte(strconv.Itoa(int(p.PID())-1)), 0); err != nil {
			t.Skip(err)
		}
		second := start(t, program, l.Addr().String())
		q, _ := accept(t, l)
		if second.Process.Pid != int(p.PID()) {
			continue // somebody else on this machine was faster
		}
		if err := q.Alive(); err != nil || q.PID() != p.PID() {
			t.Fatalf("the new process: pid %d, %v", q.PID(), err)
		}
		if err := p.Alive(); !errors.Is(err, errGone) {
			t.Errorf("the old process passes with the pid of the new: %v", err)
		}
		if dir, err := p.enter(); err == nil {
			dir.Close()
			t.Error("the old process leads into the new one's directory")
		}
		return
	}
	t.Skip("no pid could be had twice")
}

// Ten thousand callers of one program are hashed once.
func BenchmarkProve(b *testing.B) {
	l := listen(b)
	start(b, probe(b), l.Addr().String())
	p, _ := accept(b, l)
	a, m := NewAttestor(nil), everything(b)
	for len(a.hashes.known) == 0 { // until the new file has settled
		if _, err := a.Prove(b.Context(), p, m); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Prove(b.Context(), p, m); err != nil {
			b.Fatal(err)
		}
	}
}

func ExampleRefusal() {
	err := &Refusal{Proven: []Selector{{UnixUser, "", "shop"}, {ContainerLabel, "app", "x"}}, Services: []string{"cart", "catalog"}}
	fmt.Println(err)
	// Output: ambiguous: services cart, catalog match [unix:user:shop container:label:app=x]
}
