package app

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/palisade-security/palisade/internal/porttest"
)

const busServerModel = `version: 1
fleet: shop
trust_domain: shop.example
edge: {listeners: {main: {address: "127.0.0.1:8443", tls: {local: true}}}}
services: {web: {address: "http://127.0.0.1:9101"}}
mesh: {control: {address: "127.0.0.1:9950", bus: {urls: ["tls://%s"]}}}
`

// TestBusServerWatch holds that a real nats-server has another certificate at half of the life of the one before, and goes on.
func TestBusServerWatch(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and starts nats-server")
	}
	dir, at := t.TempDir(), porttest.Free(t, 1)[0]
	write(t, filepath.Join(dir, "palisade.yaml"), fmt.Sprintf(busServerModel, at))
	o := &Options{Paths: []string{dir}, Err: t.Output(), Out: t.Output()}
	b := BusServerOptions{Name: "nats-1", Folder: filepath.Join(dir, "bus")}
	if err := BusServer(t.Context(), o, &b); err != nil {
		t.Fatal(err)
	}
	b.Watch, b.Reload = true, startNATS(t, dir, at)
	now, first := time.Now(), ""
	for first == "" && time.Since(now) < time.Minute {
		first, _ = serial(t.Context(), at)
	}
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(now)) // certificates are of our days, as the server's clock is
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- BusServer(ctx, o, &b) }()
		defer func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}()
		// The server takes a moment to read its files again.
		another := func(before string) string {
			t.Helper()
			for range 3000 {
				if now, err := serial(t.Context(), at); err == nil && now != before {
					return now
				}
				time.Sleep(10 * time.Millisecond)
			}
			t.Fatal("the server has no other certificate")
			return ""
		}
		second := another(first)
		time.Sleep(11*time.Hour + 56*time.Minute)
		if early, err := serial(t.Context(), at); err != nil || early != second {
			t.Errorf("before half of its life: %s, %v", early, err)
		}
		time.Sleep(5 * time.Minute)
		third := another(second)
		// What cannot be made is tried again.
		path := filepath.Join(dir, "palisade.yaml")
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		write(t, path, "version: [")
		time.Sleep(13 * time.Hour)
		if late, err := serial(t.Context(), at); err != nil || late != third {
			t.Errorf("with a model that cannot be read: %s, %v", late, err)
		}
		write(t, path, string(text))
		time.Sleep(2 * time.Minute)
		another(third)
	})
}

// startNATS runs a nats-server with what was written for it. It returns the command that has it read its files again.
func startNATS(t *testing.T, dir, at string) (reload string) {
	t.Helper()
	binary, config, pid := filepath.Join(dir, "nats-server"), filepath.Join(dir, "nats.conf"), filepath.Join(dir, "nats.pid")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "github.com/nats-io/nats-server/v2").CombinedOutput(); err != nil {
		t.Fatalf("building nats-server: %v\n%s", err, out)
	}
	write(t, config, fmt.Sprintf("listen: %q\npid_file: %q\ninclude \"./bus/palisade.conf\"\n", at, pid))
	cmd := exec.Command(binary, "-c", config)
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return binary + " --signal reload=" + pid
}

// serial is that of the certificate which a server of the bus shows.
func serial(ctx context.Context, at string) (string, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", at)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := bufio.NewReader(io.LimitReader(conn, 1<<16)).ReadString('\n'); err != nil { // INFO, and it waits for us then
		return "", err
	}
	secure := tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) // which one it is, is all that is asked
	if err := secure.HandshakeContext(ctx); err != nil {
		return "", err
	}
	return secure.ConnectionState().PeerCertificates[0].SerialNumber.String(), nil
}
