package bus_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/palisade-security/palisade/bus"
	"github.com/palisade-security/palisade/internal/porttest"
)

// childDir makes the test binary an embedded server that publishes to itself until it is killed.
const childDir = "PALISADE_BUS_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := publishUntilKilled(context.Background(), dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// publishUntilKilled prints the id of each message, batch of messages and key, when it is acknowledged.
func publishUntilKilled(ctx context.Context, dir string) error {
	keys, err := bus.NewKeys()
	if err != nil {
		return err
	}
	log := slog.New(slog.DiscardHandler)
	server, err := bus.StartServer(ctx, bus.ServerOptions{Dir: dir, Keys: keys, Log: log})
	if err != nil {
		return err
	}
	client, err := bus.Connect(ctx, bus.Options{Name: "child", Server: server, Keys: keys, Role: bus.Control, Log: log})
	if err != nil {
		return err
	}
	if err := client.MakeStream(ctx, bus.StreamOptions{Name: "S", Subjects: []string{"s"}}); err != nil {
		return err
	}
	bucket, err := client.MakeBucket(ctx, bus.BucketOptions{Name: "b"})
	if err != nil {
		return err
	}
	start := strconv.FormatInt(time.Now().UnixNano(), 36)
	var group sync.WaitGroup
	say := func(line string) { _, _ = os.Stdout.WriteString(line + "\n") } // one write: a line is whole or absent
	for w := range 3 {
		group.Go(func() {
			for i := 0; ; i++ {
				var batch []bus.Message
				var ids []string
				for n := range 1 + i%5 {
					ids = append(ids, fmt.Sprintf("%s-%d-%d-%d", start, w, i, n))
					batch = append(batch, bus.Message{Subject: "s", ID: ids[n], Data: make([]byte, 500)})
				}
				if client.PublishAll(ctx, batch) != nil {
					return
				}
				say(strings.Join(ids, " "))
			}
		})
	}
	group.Go(func() {
		for i := 0; ; i++ {
			key := fmt.Sprintf("%s-%d", start, i)
			if _, err := bucket.Create(ctx, key, []byte(key)); err != nil {
				return
			}
			say("key " + key)
		}
	})
	group.Wait()
	return nil
}

// TestKill kills an embedded server again and again: what it acknowledged is there when it starts anew.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and kills processes")
	}
	dir := t.TempDir()
	messages, keys := map[string]bool{}, map[string]bool{}
	note := func(line string) {
		words := strings.Fields(line)
		if words[0] == "key" {
			keys[words[1]] = true
			return
		}
		for _, w := range words {
			messages[w] = true
		}
	}
	for round := range 10 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childDir+"="+dir)
		cmd.Stderr = t.Output()
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		lines := bufio.NewReader(out)
		for range 5 + 17*round { // at another moment each time
			line, err := lines.ReadString('\n')
			must(t, err)
			note(line)
		}
		must(t, cmd.Process.Kill())
		rest, err := io.ReadAll(lines)
		must(t, err)
		for line := range strings.Lines(string(rest)) {
			if strings.HasSuffix(line, "\n") {
				note(line)
			}
		}
		if cmd.Wait() == nil {
			t.Fatal("the server ended by itself")
		}
	}
	k, err := bus.NewKeys() // other keys: whose it is stands in memory alone
	must(t, err)
	server, err := bus.StartServer(t.Context(), bus.ServerOptions{Dir: dir, Keys: k, Log: testLog(t)})
	must(t, err)
	t.Cleanup(server.Close)
	client := connect(t, bus.Options{Name: "after", Server: server, Keys: k, Role: bus.Control, Log: testLog(t)})
	c := newCollector()
	background(t, func(ctx context.Context) error {
		return client.Consume(ctx, bus.ConsumeOptions{Stream: "S", Name: "all"}, c.handle)
	})
	eventually(t, "all acknowledged messages", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		for id := range messages {
			if c.times[id] == 0 {
				return false
			}
		}
		return true
	})
	bucket := client.Bucket("b")
	for key := range keys {
		if e, err := bucket.Get(soon(t), key); err != nil || string(e.Value) != key {
			t.Errorf("key %s: %q, %v", key, e.Value, err)
		}
	}
	t.Logf("%d messages and %d keys acknowledged, all there", len(messages), len(keys))
}

// TestServerRestart: clients come back by themselves, watchers see what changed meanwhile.
func TestServerRestart(t *testing.T) {
	ca, dir := newAuthority(t), t.TempDir()
	keys, err := bus.NewKeys()
	must(t, err)
	listen := fmt.Sprintf("127.0.0.1:%d", porttest.FreePort(t))
	start := func() *bus.Server {
		s, err := bus.StartServer(t.Context(), bus.ServerOptions{Dir: dir, Listen: listen, TLS: ca.server(t), Keys: keys, Log: testLog(t)})
		must(t, err)
		return s
	}
	server := start()
	role := func(role bus.Role) *bus.Client {
		return connect(t, bus.Options{
			Name: string(role), URLs: []string{server.URL()}, TLS: ca.client(ca.issue(t, web, time.Hour)), Keys: keys, Role: role, Log: testLog(t),
		})
	}
	control, other := role(bus.Control), role(bus.Control)
	b, err := control.MakeBucket(soon(t), bus.BucketOptions{Name: "models"})
	must(t, err)
	v := watching(t, other.Bucket("models"), ">")
	for i := range 3 {
		server.Close()
		done := make(chan error, 1)
		go func() {
			_, err := b.Put(soon(t), "edge", []byte(strconv.Itoa(i)))
			done <- err
		}()
		server = start()
		must(t, <-done)
		eventually(t, "the change is seen", func() bool { return v.is(map[string]string{"edge": strconv.Itoa(i)}) })
	}
	server.Close()
	if v.older {
		t.Error("an older value came after a newer one")
	}
}
