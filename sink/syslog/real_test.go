package syslog

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/sink/sinktest"
)

// rsyslog is a real server, which writes what it reads into a file.
type rsyslog struct {
	t                  *testing.T
	dir, plain, secure string
	roots              *x509.CertPool
	process            *exec.Cmd
}

const rsyslogConf = `
global(workDirectory="%[1]s" maxMessageSize="64k" parser.escapeControlCharactersOnReceive="off"
  defaultNetstreamDriverCAFile="%[1]s/cert.pem" defaultNetstreamDriverCertFile="%[1]s/cert.pem" defaultNetstreamDriverKeyFile="%[1]s/key.pem")
module(load="imtcp")
input(type="imtcp" address="127.0.0.1" port="%[2]s")
input(type="imtcp" address="127.0.0.1" port="%[3]s" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="anon")
template(name="line" type="string" string="%%pri%%|%%timestamp:::date-rfc3339%%|%%hostname%%|%%app-name%%|%%msgid%%|%%structured-data%%|%%msg%%\n")
action(type="omfile" file="%[1]s/out" template="line")
`

func newRsyslog(t *testing.T) *rsyslog {
	t.Helper()
	r := &rsyslog{t: t, dir: t.TempDir(), roots: x509.NewCertPool()}
	r.certificate()
	r.plain, r.secure = port(t), port(t)
	conf := fmt.Sprintf(rsyslogConf, r.dir, r.plain, r.secure)
	if err := os.WriteFile(filepath.Join(r.dir, "conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	r.start()
	return r
}

func (r *rsyslog) certificate() {
	r.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		r.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "syslog"}, NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"syslog.example"}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		r.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		r.t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	r.roots.AppendCertsFromPEM(cert)
	for name, text := range map[string][]byte{"cert.pem": cert, "key.pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})} {
		if err := os.WriteFile(filepath.Join(r.dir, name), text, 0o600); err != nil {
			r.t.Fatal(err)
		}
	}
}

func port(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, out, _ := net.SplitHostPort(ln.Addr().String())
	return out
}

func program(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"rsyslogd", "/usr/sbin/rsyslogd"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("rsyslogd is not installed; scripts/deps.sh installs it")
	return ""
}

func (r *rsyslog) start() {
	r.t.Helper()
	r.process = exec.CommandContext(context.WithoutCancel(r.t.Context()), program(r.t), "-n", "-f", filepath.Join(r.dir, "conf"), "-i", filepath.Join(r.dir, "pid"))
	r.process.Stdout, r.process.Stderr = r.t.Output(), r.t.Output()
	if err := r.process.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(r.stop)
	for _, p := range []string{r.plain, r.secure} {
		for {
			c, err := net.Dial("tcp", "127.0.0.1:"+p)
			if err == nil {
				_ = c.Close()
				break
			}
			r.pause()
		}
	}
}

func (r *rsyslog) stop() {
	_ = r.process.Process.Signal(syscall.SIGTERM)
	_ = r.process.Wait() // stopped twice, it says so
}

// pause waits a moment; the test fails when its time is over.
func (r *rsyslog) pause() {
	r.t.Helper()
	timer := time.NewTimer(20 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.t.Context().Done():
		r.t.Fatal("rsyslog does not answer")
	}
}

// lines waits until the server has written as many.
func (r *rsyslog) lines(n int) []string {
	r.t.Helper()
	for {
		text, err := os.ReadFile(filepath.Join(r.dir, "out"))
		if err == nil && strings.Count(string(text), "\n") >= n {
			return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
		}
		r.pause()
	}
}

// TestRsyslog sends over TCP and TLS to a real rsyslog, which reads every message as it was meant.
func TestRsyslog(t *testing.T) {
	r := newRsyslog(t)
	records := append(sinktest.Records(1500), sinktest.Samples()...)
	for _, o := range []Options{
		{Address: "127.0.0.1:" + r.plain, Hostname: "gw-1"},
		{Address: "127.0.0.1:" + r.secure, Hostname: "gw-1", TLS: &tls.Config{RootCAs: r.roots, ServerName: "syslog.example"}},
	} {
		if err := os.RemoveAll(filepath.Join(r.dir, "out")); err != nil {
			t.Fatal(err)
		}
		r.stop()
		r.start()
		if err := New(o).Send(t.Context(), records); err != nil {
			t.Fatal(err)
		}
		lines := r.lines(len(records))
		if len(lines) != len(records) {
			t.Fatalf("%d lines of %d", len(lines), len(records))
		}
		for i, line := range lines {
			want, err := parse(string(Append(nil, records[i].Event, "gw-1")))
			if err != nil {
				t.Fatal(err)
			}
			part := strings.SplitN(line, "|", 7)
			e, err := event.Parse([]byte(strings.TrimSpace(part[6])))
			if err != nil || e.ID != records[i].Event.ID || part[0] != fmt.Sprint(want.pri) || part[2] != "gw-1" || part[3] != "palisade" || part[4] != want.kind ||
				!strings.HasPrefix(part[5], "["+ID+` id="`) || !strings.HasSuffix(part[5], `"]`) {
				t.Fatalf("%v: %q", err, line)
			}
		}
	}
}

// TestAway fails where there is no server, another one than expected, or one that hangs up.
func TestAway(t *testing.T) {
	r := newRsyslog(t)
	records := sinktest.Records(10)
	secure := Options{Address: "127.0.0.1:" + r.secure, TLS: &tls.Config{RootCAs: r.roots, ServerName: "other.example"}}
	if err := New(secure).Send(t.Context(), records); err == nil || !strings.Contains(err.Error(), "other.example") {
		t.Errorf("another server: %v", err)
	}
	secure.TLS.ServerName, secure.TLS.RootCAs = "syslog.example", nil
	if err := New(secure).Send(t.Context(), records); err == nil || !strings.Contains(err.Error(), "authority") {
		t.Errorf("an unknown authority: %v", err)
	}
	r.stop()
	if err := New(Options{Address: "127.0.0.1:" + r.plain}).Send(t.Context(), records); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("no server: %v", err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 10))
			_ = c.Close() // unread bytes reset it
		}
	}()
	if err := New(Options{Address: ln.Addr().String()}).Send(t.Context(), sinktest.Records(2000)); err == nil {
		t.Error("a server that hangs up has taken everything")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	if err := New(Options{Address: silent.Addr().String()}).Send(ctx, records); err == nil {
		t.Error("a server that never ends has taken everything")
	}
}
