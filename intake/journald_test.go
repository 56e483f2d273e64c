package intake

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
)

// collectorPlace names the place file for a process that follows the journal.
const collectorPlace = "PALISADE_TEST_JOURNAL"

func TestMain(m *testing.M) {
	place := os.Getenv(collectorPlace)
	if place == "" {
		os.Exit(m.Run())
	}
	if err := collectJournal(place); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// collectJournal writes what it takes to standard output.
func collectJournal(place string) error {
	in := New(Options{
		Limits: Limits{Record: 1 << 20}, Refused: func(Refusal) {}, Count: func(string, int, int64) {}, Turned: func(string, string) {},
		Take: func(_ context.Context, records []*event.Event) error {
			var lines []byte
			for _, e := range records {
				lines = append(event.AppendJSON(lines, e), '\n')
			}
			_, err := os.Stdout.Write(lines)
			return err
		},
	})
	in.Declare([]Source{{Name: "host", Records: 1e6, Bytes: 1e9}})
	return in.FollowJournal(context.Background(), Journal{Source: "host", Place: place, Failed: func(err error) { fmt.Fprintln(os.Stderr, err) }})
}

// journald is systemd's, in mounts of its own, so that the machine's journal is not touched.
type journald struct {
	t      *testing.T
	mounts *exec.Cmd // keeps them
	cmd    *exec.Cmd
}

const journaldProgram = "/usr/lib/systemd/systemd-journald"

func newJournald(t *testing.T) *journald {
	t.Helper()
	if testing.Short() {
		t.Skip("NOT RUN: -short leaves out what starts processes")
	}
	if os.Getuid() != 0 {
		t.Skip("NOT RUN: only root may give systemd-journald mounts of its own")
	}
	if _, err := os.Stat(journaldProgram); err != nil {
		t.Fatalf("%v: run scripts/deps.sh", err)
	}
	j := &journald{t: t}
	j.mounts = exec.Command("sh", "-c", "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal /run/log/journal && echo && exec cat")
	j.mounts.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	in, err := j.mounts.StdinPipe()
	must(t, err)
	out, err := j.mounts.StdoutPipe()
	must(t, err)
	must(t, j.mounts.Start())
	t.Cleanup(func() { _ = in.Close(); _ = j.mounts.Wait() })
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatalf("no mounts: %v", err)
	}
	j.start()
	t.Cleanup(j.kill)
	return j
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// inside is a program among the mounts.
func (j *journald) inside(args ...string) *exec.Cmd {
	cmd := exec.Command("nsenter", append([]string{fmt.Sprintf("--mount=/proc/%d/ns/mnt", j.mounts.Process.Pid), "--"}, args...)...)
	cmd.Stderr = os.Stderr
	return cmd
}

func (j *journald) start() {
	j.t.Helper()
	j.cmd = j.inside(journaldProgram)
	must(j.t, j.cmd.Start())
}

func (j *journald) kill() {
	_ = j.cmd.Process.Kill()
	_ = j.cmd.Wait()
}

// write writes an entry as programs do (systemd, Native Journal Protocol): fields with line feeds by their length.
func (j *journald) write(fields ...string) error {
	var b []byte
	for _, f := range fields {
		name, value, _ := strings.Cut(f, "=")
		if !strings.Contains(value, "\n") {
			b = append(b, f+"\n"...)
			continue
		}
		b = binary.LittleEndian.AppendUint64(append(b, name+"\n"...), uint64(len(value)))
		b = append(b, value+"\n"...)
	}
	conn, err := net.Dial("unixgram", fmt.Sprintf("/proc/%d/root/run/systemd/journal/socket", j.mounts.Process.Pid))
	if err != nil {
		return err
	}
	_, err = conn.Write(b)
	if closing := conn.Close(); err == nil {
		err = closing
	}
	return err
}

// follows is a process that follows the journal.
type follows struct {
	cmd  *exec.Cmd
	done chan struct{}

	mu  sync.Mutex
	got []*event.Event
}

func (j *journald) collect(place string) *follows {
	j.t.Helper()
	c := &follows{cmd: j.inside(os.Args[0]), done: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), collectorPlace+"="+place)
	out, err := c.cmd.StdoutPipe()
	must(j.t, err)
	must(j.t, c.cmd.Start())
	go func() {
		defer close(c.done)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if e, err := event.Parse(lines.Bytes()); err != nil {
				j.t.Error(err)
			} else {
				c.mu.Lock()
				c.got = append(c.got, e)
				c.mu.Unlock()
			}
		}
	}()
	j.t.Cleanup(c.kill)
	return c
}

func (c *follows) kill() {
	_ = c.cmd.Process.Kill()
	<-c.done
	_ = c.cmd.Wait()
}

// find returns the first record with a text, nil if there is none yet.
func (c *follows) find(text string) *event.Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := slices.IndexFunc(c.got, func(e *event.Event) bool { return e.Log.Text == text }); i >= 0 {
		return c.got[i]
	}
	return nil
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for tick := time.NewTicker(50 * time.Millisecond); !holds(); {
		select {
		case <-ctx.Done():
			t.Fatal("waited in vain: " + what)
		case <-tick.C:
		}
	}
}

// TestJournald follows a real journal: its entries come as what they are, over its rotation, kill -9 of the collector, which goes
// on where it was, and kill -9 of journald.
func TestJournald(t *testing.T) {
	j := newJournald(t)
	place := filepath.Join(t.TempDir(), "place")
	c := j.collect(place)
	n := 0
	eventually(t, "it follows", func() bool {
		n++
		return j.write(fmt.Sprint("MESSAGE=first ", n)) == nil && c.find(fmt.Sprint("first ", n-1)) != nil
	})
	comes := func(text string) *event.Event {
		t.Helper()
		eventually(t, text, func() bool { return c.find(text) != nil })
		return c.find(text)
	}
	must(t, j.write("MESSAGE=stock is gone\nof two lines", "PRIORITY=3", "SYSLOG_IDENTIFIER=orders", "TRACE_ID=4bf92f3577b34da6a3ce929d0e0e4736", "ORDER=7"))
	e := comes("stock is gone\nof two lines")
	if l := e.Log; l.Form != formJournal || l.Severity != event.SeverityError || l.Attributes["app"] != "orders" || l.Attributes["order"] != "7" ||
		l.Attributes["pid"] != fmt.Sprint(os.Getpid()) || e.TraceID != "4bf92f3577b34da6a3ce929d0e0e4736" || time.Since(e.Time).Abs() > time.Hour {
		t.Errorf("%+v %+v", e, l)
	}
	must(t, j.cmd.Process.Signal(syscall.SIGUSR2)) // rotate
	must(t, j.write("MESSAGE=after its rotation"))
	comes("after its rotation")

	c.kill()
	for i := range 300 {
		must(t, j.write(fmt.Sprint("MESSAGE=meanwhile ", i)))
	}
	c = j.collect(place)
	for i := range 300 {
		comes(fmt.Sprint("meanwhile ", i))
	}
	if c.find("stock is gone\nof two lines") != nil {
		t.Error("it began anew")
	}
	j.kill()
	j.start()
	eventually(t, "journald takes entries", func() bool { return j.write("MESSAGE=after its death") == nil })
	comes("after its death")
}
