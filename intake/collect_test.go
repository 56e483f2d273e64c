package intake

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
)

// kept is what was taken in.
type kept struct {
	mu     sync.Mutex
	events []*event.Event
	fails  bool
	failed func()
}

func (k *kept) take(_ context.Context, records []*event.Event) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fails {
		k.failed()
		return errors.New("the disk is full")
	}
	k.events = append(k.events, records...)
	return nil
}

func (k *kept) texts() (out []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, e := range k.events {
		out = append(out, e.Log.Text)
	}
	return out
}

func collecting() (*Intake, *kept) {
	k := &kept{}
	in := New(Options{Limits: Limits{Record: 1 << 20}, Take: k.take, Refused: func(Refusal) {}, Count: func(string, int, int64) {}, Turned: func(string, string) {}})
	in.Declare([]Source{{Name: "s", Records: 1e6, Bytes: 1e9}})
	return in, k
}

// pass follows files once: from where the place file says, to the end of what is there.
func pass(t *testing.T, in *Intake, files Files) {
	t.Helper()
	files.Source, files.Failed = "s", func(path string, err error) { t.Errorf("%s: %v", path, err) }
	f := &follower{in: in, files: files, places: map[string]place{}, tails: map[string]*tail{}, told: map[string]string{}}
	if err := loadPlace(files.Place, &f.places); err != nil {
		t.Fatal(err)
	}
	defer f.close()
	for range 3 { // rotated files, too
		if err := f.pass(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestFollow writes, rotates, cuts, and restarts in between: every line comes once.
func TestFollow(t *testing.T) {
	in, k := collecting()
	dir := t.TempDir()
	path := filepath.Join(dir, "a.log")
	files := Files{Patterns: []string{filepath.Join(dir, "*.log")}, Place: filepath.Join(dir, "place", "s.json")}
	write(t, path, "one\ntwo\nhal")
	pass(t, in, files)
	write(t, path, "f\nfour\n")
	pass(t, in, files)
	write(t, path, "five\nsix") // and nobody ends it
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	write(t, path, "seven\n")
	pass(t, in, files)
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	write(t, path, "8\n")
	pass(t, in, files)
	write(t, path, strings.Repeat("x", 3*maxLine)+"\nnine\n")
	pass(t, in, files)
	got := k.texts()
	if want := "one two half four five six seven 8"; strings.Join(got[:min(8, len(got))], " ") != want || len(got) != 10 {
		t.Fatalf("%d: %.200q, want %q", len(got), got, want)
	}
	if n := len(got[8]); n < maxLine || n > maxLine+readBytes || got[9] != "nine" {
		t.Errorf("%d bytes of a long line, then %q", n, got[9])
	}
	if a := k.events[0].Log.Attributes; a["log.file.path"] != path {
		t.Errorf("%v", a)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	pass(t, in, files)
}

// TestFollowRuns follows while somebody writes and rotates, and ends.
func TestFollowRuns(t *testing.T) {
	in, k := collecting()
	dir := t.TempDir()
	path := filepath.Join(dir, "a.log")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- in.Follow(ctx, Files{Source: "s", Patterns: []string{path}, Place: filepath.Join(dir, "place"), Failed: func(_ string, err error) { t.Error(err) }})
	}()
	const lines = 5000
	for i := range lines {
		write(t, path, fmt.Sprintf("%d\n", i))
		if i%1000 == 999 {
			await(t, k, i+1)
			if err := os.Rename(path, path+".1"); err != nil {
				t.Fatal(err)
			}
		}
	}
	await(t, k, lines)
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for i, text := range k.texts() {
		if text != fmt.Sprint(i) {
			t.Fatalf("line %d is %q", i, text)
		}
	}
}

func await(t *testing.T, k *kept, n int) {
	t.Helper()
	for len(k.texts()) < n {
		select {
		case <-t.Context().Done():
			t.Fatal("the test has ended")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// TestDiskIsFull keeps what could not be taken for the next time.
func TestDiskIsFull(t *testing.T) {
	in, k := collecting()
	dir := t.TempDir()
	path := filepath.Join(dir, "a.log")
	write(t, path, "one\n")
	k.fails = true
	ctx, cancel := context.WithCancel(t.Context())
	k.failed = cancel
	if err := in.Follow(ctx, Files{Source: "s", Patterns: []string{path}, Place: filepath.Join(dir, "place"), Failed: func(_ string, err error) { t.Error(err) }}); err != nil {
		t.Fatal(err)
	}
	k.fails = false
	pass(t, in, Files{Patterns: []string{path}, Place: filepath.Join(dir, "place")})
	if got := k.texts(); !slices.Equal(got, []string{"one"}) {
		t.Errorf("%q", got)
	}
}

func TestContainers(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Millisecond)
	at := now.Format(time.RFC3339Nano)
	for name, c := range map[string]struct {
		format, path, text string
		want               []string
		attributes         map[string]string
	}{
		"docker": {
			formDocker, "containers/0123abc/0123abc-json.log",
			`{"log":"{\"level\":\"error\",\"msg\":\"m\",\"n\":1}\n","stream":"stdout","time":"` + at + `"}` + "\n" +
				`{"log":"a long ","stream":"stderr","time":"` + at + `"}` + "\n" + `{"log":"between\n","stream":"stdout","time":"` + at + `"}` + "\n" + `{"log":"line\n","stream":"stderr","time":"` + at + `"}` + "\nno json\n",
			[]string{"m", "between", "a long line", "no json"},
			map[string]string{"container.id": "0123abc", "stream": "stdout", "n": "1"},
		},
		"cri": {
			formCRI, "pods/shop_orders-7_b1/orders/0.log",
			at + " stdout F " + `{"severity":"ERROR","message":"m"}` + "\n" + at + " stderr P a long \n" + at + " stdout F between\n" + at + " stderr F line\n" + at + " stdout F \nodd line\n",
			[]string{"m", "between", "a long line", "", "odd line"},
			map[string]string{"k8s.namespace.name": "shop", "k8s.pod.name": "orders-7", "k8s.pod.uid": "b1", "k8s.container.name": "orders", "stream": "stdout"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			in, k := collecting()
			dir := t.TempDir()
			path := filepath.Join(dir, c.path)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			// In two pieces, with a restart where a line is split.
			half := strings.Index(c.text, "between")
			write(t, path, c.text[:half])
			files := Files{Patterns: []string{path}, Format: c.format, Place: filepath.Join(dir, "place")}
			pass(t, in, files)
			write(t, path, c.text[half:])
			pass(t, in, files)
			if got := k.texts(); !slices.Equal(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
			first := k.events[0]
			if first.Log.Form != c.format || !first.Time.Equal(now) || first.Log.Severity != event.SeverityError || !maps.Equal(first.Log.Attributes, c.attributes) {
				t.Errorf("%s %+v", first.Time, first.Log)
			}
		})
	}
}

func FuzzContainers(f *testing.F) {
	f.Add(true, []byte(`{"log":"a","stream":"x","time":"2026-11-23T12:00:00Z"}`+"\n"+`{"log":"b\n","attrs":{"k":"v"}}`))
	f.Add(false, []byte("2026-11-23T12:00:00.1Z stdout P:x a\n2026-11-23T12:00:00Z stdout F b"))
	f.Fuzz(func(t *testing.T, docker bool, file []byte) {
		l := newLiner(formCRI)
		if docker {
			l = newLiner(formDocker)
		}
		for line := range strings.Lines(string(file)) {
			if r := l.line([]byte(line)); r != nil {
				bounded(t, []*record{r})
			}
		}
	})
}

// TestReadEntry reads entries as journalctl writes them, also one whose message is not UTF-8.
func TestReadEntry(t *testing.T) {
	r, cursor := readEntry([]byte(`{"__CURSOR":"s=1;i=2","__REALTIME_TIMESTAMP":"1795435200500000","_SOURCE_REALTIME_TIMESTAMP":"1795435200123456","PRIORITY":"3","_HOSTNAME":"node-1","_SYSTEMD_UNIT":"orders.service","SYSLOG_IDENTIFIER":"orders","_PID":"77","MESSAGE":"stock is gone","TRACE_ID":"4bf92f3577b34da6a3ce929d0e0e4736","ORDER":"7","CODE_FILE":["a.go","b.go"]}`))
	want := map[string]string{"unit": "orders.service", "app": "orders", "pid": "77", "order": "7", "code_file": "a.go"}
	if cursor != "s=1;i=2" || r.text != "stock is gone" || r.host != "node-1" || r.severity != event.SeverityError || r.trace != "4bf92f3577b34da6a3ce929d0e0e4736" || !r.time.Equal(time.UnixMicro(1795435200123456)) || !maps.Equal(r.attributes, want) {
		t.Errorf("%q %+v", cursor, r)
	}
	if r, _ := readEntry([]byte(`{"__CURSOR":"c","MESSAGE":[104,105,255]}`)); r == nil || r.text != "hi\uFFFD" {
		t.Errorf("%+v", r)
	}
	for _, line := range []string{"", "{}", "-- No entries --", `{"__CURSOR":7`} {
		if r, _ := readEntry([]byte(line)); r != nil {
			t.Errorf("%q is %+v", line, r)
		}
	}
}

func FuzzEntry(f *testing.F) {
	f.Add([]byte(`{"__CURSOR":"c","MESSAGE":[104,105,255],"PRIORITY":"3","A":null,"_HOSTNAME":"h"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		if r, _ := readEntry(line); r != nil {
			bounded(t, []*record{r})
		}
	})
}
