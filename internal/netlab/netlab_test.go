package netlab

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	os.Exit(Main(m, map[string]func([]string) int{"echo": echo, "clock": clock, "reach": reach}))
}

// echo answers each datagram.
func echo([]string) int {
	conn, err := net.ListenPacket("udp", ":7777")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("ready")
	b := make([]byte, 100)
	for {
		n, from, err := conn.ReadFrom(b)
		if err != nil {
			return 1
		}
		_, _ = conn.WriteTo(b[:n], from)
	}
}

// clock prints what time it is and how long an fsync and a timer take, again and again.
func clock([]string) int {
	f, err := os.CreateTemp("", "clock")
	if err != nil {
		return 1
	}
	for {
		begun := time.Now()
		if f.Sync() != nil {
			return 1
		}
		fmt.Println(time.Now().UnixNano(), int64(time.Since(begun)))
		time.Sleep(5 * time.Millisecond)
	}
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	end := time.After(30 * time.Second)
	for !holds() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// answered counts how many of n datagrams came back.
func answered(to string, n int) (got int) {
	conn, err := net.Dial("udp", to+":7777")
	if err != nil {
		return 0
	}
	defer conn.Close()
	for i := range n {
		_, _ = conn.Write([]byte(strconv.Itoa(i)))
		_ = conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if _, err := conn.Read(make([]byte, 100)); err == nil {
			got++
		}
	}
	return got
}

// reach fails unless the echo at an address answers.
func reach(args []string) int {
	if answered(args[0], 10) == 0 {
		return 1
	}
	return 0
}

func TestNetwork(t *testing.T) {
	l := New(t)
	a, b := l.Host("a"), l.Host("b")
	p := b.Start(Program{Args: l.Self("echo")})
	eventually(t, "the echo", func() bool { return strings.Contains(p.String(), "ready") })
	reach := func() bool {
		_, err := a.Run(l.Self("reach", b.IP)...)
		return err == nil
	}
	if !reach() || answered(b.IP, 10) != 10 {
		t.Fatal("hosts do not reach each other")
	}
	a.Cut(b)
	if reach() || answered(b.IP, 10) != 10 {
		t.Error("cut: got through, or the others did not")
	}
	b.Cut()
	if answered(b.IP, 3) != 0 {
		t.Error("cut from all, but not from the test")
	}
	l.Heal()
	if !reach() {
		t.Error("not healed")
	}
	b.Lose(30)
	if n := answered(b.IP, 200); n < 60 || n > 140 { // 0.49 of them, by either way; five standard deviations
		t.Errorf("30 %% lost either way: %d of 200 came back", n)
	}
	l.Heal()
	p.Kill()
	if ended, err := p.Ended(); !ended || err == nil {
		t.Errorf("killed: %t %v", ended, err)
	}
}

func TestDisk(t *testing.T) {
	l := New(t)
	h, dir := l.Host("a"), t.TempDir()
	h.Disk(dir, 1<<20)
	if err := os.WriteFile(filepath.Join(h.Inside(dir), "x"), make([]byte, 2<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("two bytes in one: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "x"), make([]byte, 2<<20), 0o600); err != nil {
		t.Errorf("elsewhere: %v", err)
	}
}

func TestKernel(t *testing.T) {
	l := New(t)
	var k Kernel
	p := l.Host("a").Start(Program{Args: l.Self("clock"), Kernel: &k})
	last := func() (ahead, took time.Duration) {
		lines := strings.Split(strings.TrimSpace(p.String()), "\n")
		var at, d int64
		if _, err := fmt.Sscan(lines[len(lines)-1], &at, &d); err != nil {
			return 0, 0
		}
		return time.Until(time.Unix(0, at)), time.Duration(d)
	}
	near := func(ahead time.Duration) func() bool {
		return func() bool {
			now, _ := last()
			return p.String() != "" && (now-ahead).Abs() < time.Minute
		}
	}
	eventually(t, "the right time", near(0))
	k.Jump(2 * time.Hour)
	eventually(t, "two hours later", near(2*time.Hour))
	k.Jump(-2 * time.Hour)
	eventually(t, "two hours earlier", near(-2*time.Hour))
	if _, took := last(); took > time.Minute {
		t.Errorf("a jump shows in what was measured: %v", took)
	}
	k.Slow(300 * time.Millisecond)
	eventually(t, "a slow disk", func() bool {
		_, took := last()
		return took > 300*time.Millisecond
	})
	k.Slow(0)
}
