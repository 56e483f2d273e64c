package bus_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/palisade-security/palisade/bus"
)

// TestFullDisk: an embedded server whose disk was full stores again once there is room, and has lost nothing that it acknowledged.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=16m"); err != nil {
		t.Skipf("cannot mount a small disk here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	keys, err := bus.NewKeys()
	must(t, err)
	server, err := bus.StartServer(t.Context(), bus.ServerOptions{Dir: filepath.Join(dir, "bus"), Keys: keys, Log: testLog(t)})
	must(t, err)
	t.Cleanup(server.Close)
	client := connect(t, bus.Options{Name: "control", Server: server, Keys: keys, Role: bus.Control, Log: testLog(t)})
	must(t, client.MakeStream(soon(t), bus.StreamOptions{Name: "EVENTS", Subjects: []string{"events.>"}, Replicas: 1}))
	publish := func(ctx context.Context, id string) error {
		return client.PublishAll(ctx, []bus.Message{{Subject: "events.x", ID: id, Data: bytes.Repeat([]byte("x"), 100<<10)}})
	}
	must(t, publish(soon(t), "first"))
	filler := filepath.Join(dir, "filler")
	for size := 1 << 20; size > 512; { // to the last bytes
		f, err := os.OpenFile(filler, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		must(t, err)
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
		must(t, f.Close())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if publish(ctx, "full") == nil {
		t.Error("a full disk takes messages")
	}
	must(t, os.Remove(filler))
	must(t, publish(soon(t), "last"))
	got := newCollector()
	background(t, func(ctx context.Context) error {
		return client.Consume(ctx, bus.ConsumeOptions{Stream: "EVENTS", Name: "all", Timeout: 5 * time.Second}, got.handle)
	})
	eventually(t, "what was acknowledged is there", func() bool {
		got.mu.Lock()
		defer got.mu.Unlock()
		return got.times["first"] > 0 && got.times["last"] > 0
	})
}
