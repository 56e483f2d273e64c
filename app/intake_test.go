package app_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	otellog "go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/trace"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/internal/fleettest"
	"github.com/palisade-security/palisade/internal/porttest"
	"github.com/palisade-security/palisade/store/journal"
)

const intakeKey = "c3bd9a7f04be1f0e6b1d4c6bb2f9a6f1"

// logFleet is a shop that takes log records in.
type logFleet struct {
	*fleet
	web, syslog string // host:port
	ca          string // file of the authority that has signed what the gateway shows
}

func startLogFleet(t *testing.T) *logFleet {
	t.Helper()
	f := &logFleet{fleet: newFleet(t)}
	ports := porttest.Free(t, 2)
	f.web, f.syslog = ports[0], ports[1]
	f.writeSenders()
	sum := sha256.Sum256([]byte(intakeKey))
	f.Edit("palisade.yaml", "providers:\n", `intake:
  http: `+f.web+`
  syslog: `+f.syslog+`
  tls: {local: true}
  client_ca: senders/ca.pem
  sources:
    orders: {service: orders, keys: ["`+hex.EncodeToString(sum[:])+`"]}
    payments: {service: payments, certificates: [spiffe://shop.example/service/payments]}
    host: {certificates: [host-1.shop.example]}
    pods: {files: ["`+f.Path("pods")+`/*/*/*.log"], format: cri}
providers:
`)
	f.start()
	f.ca = filepath.Join(f.Dir, ".palisade", "ca", "local-ca.pem")
	return f
}

// writeSenders makes an authority, and certificates of a service, a host, and of somebody who is not declared.
func (f *logFleet) writeSenders() {
	f.T.Helper()
	authority, authorityKey := f.certificate("ca", nil, nil, &x509.Certificate{Subject: pkix.Name{CommonName: "senders"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	of := func(name string, c *x509.Certificate) {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		f.certificate(name, authority, authorityKey, c)
	}
	of("payments", &x509.Certificate{URIs: []*url.URL{{Scheme: "spiffe", Host: "shop.example", Path: "/service/payments"}}})
	of("host", &x509.Certificate{DNSNames: []string{"host-1.shop.example"}})
	of("stranger", &x509.Certificate{DNSNames: []string{"host-2.shop.example"}})
	f.certificate("forged", nil, nil, &x509.Certificate{DNSNames: []string{"host-1.shop.example"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
}

func (f *logFleet) certificate(name string, parent *x509.Certificate, signer *ecdsa.PrivateKey, c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	f.T.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.T.Fatal(err)
	}
	c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Minute), time.Now().Add(time.Hour)
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		f.T.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		f.T.Fatal(err)
	}
	f.Write("senders/"+name+".pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	f.Write("senders/"+name+".key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
	made, err := x509.ParseCertificate(der)
	if err != nil {
		f.T.Fatal(err)
	}
	return made, key
}

// recorded waits for an event that is meant.
func (f *logFleet) recorded(what string, meant func(*event.Event) bool) *event.Event {
	f.T.Helper()
	var found *event.Event
	f.Eventually(what, func() bool {
		for rec, err := range journal.Read(filepath.Join(f.Dir, ".palisade", "events"), 0) {
			if err != nil {
				continue
			}
			if e, err := event.Parse(rec.Data); err == nil && meant(e) {
				found = e
				return true
			}
		}
		return false
	})
	return found
}

func (f *logFleet) says(text string) *event.Event {
	f.T.Helper()
	return f.recorded(text, func(e *event.Event) bool { return e.Log != nil && strings.Contains(e.Log.Text, text) })
}

// run runs a program and returns what it wrote.
func (f *logFleet) run(input string, command ...string) string {
	f.T.Helper()
	c := exec.CommandContext(f.T.Context(), command[0], command[1:]...)
	c.Stdin = strings.NewReader(input)
	out, err := c.CombinedOutput()
	if err != nil {
		f.T.Fatalf("%q: %v\n%s", command, err, out)
	}
	return string(out)
}

func (f *logFleet) sender(name string) []string {
	return []string{"--cert", filepath.Join(f.Dir, "senders", name+".pem"), "--key", filepath.Join(f.Dir, "senders", name+".key")}
}

// TestIntake takes log records of real senders in and finds them beside the decisions.
func TestIntake(t *testing.T) {
	f := startLogFleet(t)
	t.Run("curl with a key", f.curlKey)
	t.Run("curl with a certificate", f.curlCertificate)
	t.Run("OpenTelemetry", f.openTelemetry)
	t.Run("logger", f.logger)
	t.Run("rsyslog", f.rsyslog)
	t.Run("files", f.files)
	t.Run("who is not declared", f.undeclared)
	t.Run("reload", f.otherSources)
}

func (f *logFleet) curl(args ...string) []string {
	return append([]string{"curl", "-sS", "--cacert", f.ca, "-H", "Content-Type: application/x-ndjson", "--data-binary", "@-", "-w", " %{http_code}"}, args...)
}

func (f *logFleet) curlKey(t *testing.T) {
	a := f.Do(f.Client(true), "GET", "/", "") // a decision
	decided := f.recorded("the decision", func(e *event.Event) bool { return e.ID == a.ID() })
	line := `{"level":"error","msg":"stock is gone, password=hunter2","trace_id":"` + decided.TraceID + `","api_key":"hunter2","order":7}` + "\n"
	if out := f.run(line, f.curl("-H", "Authorization: Bearer "+intakeKey, "https://"+f.web+"/v1/lines")...); out != `{"accepted":1,"rejected":0}`+"\n 200" {
		t.Fatal(out)
	}
	e := f.says("stock is gone")
	if e.Service != "orders" || e.TraceID != decided.TraceID || e.Log.Source != "orders" || e.Log.Attributes["order"] != "7" || e.Fleet != "shop" || e.Snapshot != decided.Snapshot {
		t.Errorf("%+v %+v", e, e.Log)
	}
	if text := string(event.AppendJSON(nil, e)); strings.Contains(text, "hunter2") {
		t.Errorf("a secret stands in %s", text)
	}
	x := f.explained(t, e.ID, true)
	if x.Event.Log == nil || len(x.Flips) > 0 {
		t.Errorf("explained as %+v", x)
	}
	if metrics := f.Get("http://" + f.admin + "/metrics").Text; !strings.Contains(metrics, `palisade_intake_records_total{source="orders"} 1`) {
		t.Error("the record is not counted")
	}
}

func (f *logFleet) curlCertificate(t *testing.T) {
	if out := f.run("a line of payments", f.curl(append(f.sender("payments"), "https://"+f.web+"/v1/lines")...)...); !strings.HasSuffix(out, " 200") {
		t.Fatal(out)
	}
	if e := f.says("a line of payments"); e.Service != "payments" || e.Workload != "spiffe://shop.example/service/payments" {
		t.Errorf("%+v", e)
	}
}

// openTelemetry sends with the SDK, as a service would.
func (f *logFleet) openTelemetry(t *testing.T) {
	pool := x509.NewCertPool()
	text, err := os.ReadFile(f.ca)
	if err != nil {
		t.Fatal(err)
	}
	pool.AppendCertsFromPEM(text)
	exporter, err := otlploghttp.New(t.Context(), otlploghttp.WithEndpoint(f.web), otlploghttp.WithTLSClientConfig(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}),
		otlploghttp.WithHeaders(map[string]string{"Authorization": "Bearer " + intakeKey}), otlploghttp.WithCompression(otlploghttp.GzipCompression))
	if err != nil {
		t.Fatal(err)
	}
	provider := sdklog.NewLoggerProvider(sdklog.WithProcessor(sdklog.NewBatchProcessor(exporter)),
		sdklog.WithResource(resource.NewSchemaless(attribute.String("service.name", "orders"), attribute.String("host.name", "node-7"), attribute.String("deployment", "blue"))))
	spanned := trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1: 7}, SpanID: trace.SpanID{1: 9}, TraceFlags: trace.FlagsSampled}))
	var r otellog.Record
	r.SetTimestamp(time.Now())
	r.SetSeverity(otellog.SeverityWarn2)
	r.SetSeverityText("WARNING")
	r.SetBody(attribute.StringValue("sent by the SDK"))
	r.AddAttributes(attribute.Int("items", 3), attribute.Map("user", attribute.String("id", "u1"), attribute.String("password", "hunter2")))
	provider.Logger("shop/orders").Emit(spanned, r)
	if err := provider.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	e := f.says("sent by the SDK")
	if e.TraceID != "00070000000000000000000000000000" || e.SpanID != "0009000000000000" || e.Service != "orders" || e.Host != "node-7" || e.Log.Severity != 14 || e.Log.Level != "WARNING" || e.Log.Form != "otlp" {
		t.Errorf("%+v %+v", e, e.Log)
	}
	for name, want := range map[string]string{"items": "3", "user.id": "u1", "user.password": event.Redacted, "scope.name": "shop/orders", "deployment": "blue"} {
		if got := e.Log.Attributes[name]; got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// logger sends with util-linux's logger, which speaks no TLS, through a relay that does.
func (f *logFleet) logger(t *testing.T) {
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	relayed := make(chan error, 1)
	go func() { relayed <- f.relay(t.Context(), ln) }()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	f.run("", "logger", "--tcp", "--server", "127.0.0.1", "--port", port, "--octet-count", "--rfc5424", "--priority", "auth.crit", "--tag", "sshd", "--id=77", "--sd-id", "zoo@123", "--sd-param", `tiger="hungry"`, "by logger [ok]")
	if err := <-relayed; err != nil {
		t.Fatal(err)
	}
	e := f.says("by logger")
	if e.Log.Text != "by logger [ok]" || e.Log.Form != "syslog" || e.Log.Source != "host" || e.Log.Severity != 18 || e.Log.Attributes["app"] != "sshd" || e.Log.Attributes["pid"] != "77" || e.Log.Attributes["facility"] != "auth" || e.Log.Attributes["zoo@123.tiger"] != "hungry" {
		t.Errorf("%+v %+v", e, e.Log)
	}
}

// relay takes one connection and carries what comes to the gateway, over TLS.
func (f *logFleet) relay(ctx context.Context, ln net.Listener) error {
	from, err := ln.Accept()
	if err != nil {
		return err
	}
	defer from.Close()
	pair, err := tls.LoadX509KeyPair(filepath.Join(f.Dir, "senders/host.pem"), filepath.Join(f.Dir, "senders/host.key"))
	if err != nil {
		return err
	}
	text, err := os.ReadFile(f.ca)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	to, err := (&tls.Dialer{Config: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13}}).DialContext(ctx, "tcp", f.syslog)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}

// rsyslog sends with rsyslogd over TLS, as hosts do.
func (f *logFleet) rsyslog(t *testing.T) {
	dir := t.TempDir()
	_, port, _ := net.SplitHostPort(f.syslog)
	at := func(name string) string { return filepath.Join(f.Dir, "senders", name) }
	config := filepath.Join(dir, "rsyslog.conf")
	if err := os.WriteFile(config, []byte(`global(workDirectory="`+dir+`" defaultNetstreamDriver="gtls" defaultNetstreamDriverCAFile="`+f.ca+`"
  defaultNetstreamDriverCertFile="`+at("host.pem")+`" defaultNetstreamDriverKeyFile="`+at("host.key")+`")
module(load="imuxsock" sysSock.use="off")
input(type="imuxsock" socket="`+dir+`/log")
action(type="omfwd" target="127.0.0.1" port="`+port+`" protocol="tcp" tcp_framing="octet-counted" template="RSYSLOG_SyslogProtocol23Format"
  streamDriver="gtls" streamDriverMode="1" streamDriverAuthMode="x509/name" streamDriverPermittedPeers="localhost" action.resumeInterval="1" action.resumeRetryCount="-1")
`), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	daemon := exec.CommandContext(ctx, "rsyslogd", "-n", "-f", config, "-i", filepath.Join(dir, "pid"))
	var said fleettest.Output
	daemon.Stdout, daemon.Stderr = &said, &said
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cancel()
		_ = daemon.Wait() // it was killed
	}()
	f.Eventually("rsyslogd listens", func() bool {
		_, err := os.Stat(dir + "/log")
		return err == nil
	})
	f.run("", "logger", "--socket", dir+"/log", "--priority", "local3.warning", "--tag", "backup", `{"msg":"by rsyslog","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","files":12}`)
	e := f.says("by rsyslog")
	if e.TraceID != "4bf92f3577b34da6a3ce929d0e0e4736" || e.Host == "" || e.Log.Severity != event.SeverityWarn || e.Log.Attributes["files"] != "12" || e.Log.Attributes["app"] != "backup" || e.Log.Attributes["facility"] != "local3" {
		t.Errorf("%+v %+v\n%s", e, e.Log, said.String())
	}
}

// undeclared are those whose records nobody wants.
func (f *logFleet) undeclared(t *testing.T) {
	url := "https://" + f.web + "/v1/lines"
	for name, args := range map[string][]string{
		"nobody": {url}, "a wrong key": {"-H", "X-Api-Key: guess", url}, "a stranger": append(f.sender("stranger"), url), "a forged certificate": append(f.sender("forged"), url),
		"a key of another": append(f.sender("payments"), "-H", "Authorization: Bearer "+intakeKey, url),
	} {
		if out := f.run("not wanted", f.curl(args...)...); !strings.HasSuffix(out, " 401") {
			t.Errorf("%s: %s", name, out)
		}
	}
	e := f.recorded("the refusal", func(e *event.Event) bool { return e.Act != nil && e.Act.Kind == event.KindIntake })
	if e.Act.Reason != "unknown-source" || e.Client != "127.0.0.1" || e.Act.Outcome != event.Denied {
		t.Errorf("%+v %+v", e, e.Act)
	}
}

// otherSources takes a source away while the gateway runs.
func (f *logFleet) otherSources(t *testing.T) {
	before := f.version()
	f.Edit("palisade.yaml", "certificates: [spiffe://shop.example/service/payments]", "certificates: [spiffe://shop.example/service/web]")
	f.changed(before)
	if out := f.run("too late", f.curl(append(f.sender("payments"), "https://"+f.web+"/v1/lines")...)...); !strings.HasSuffix(out, " 401") {
		t.Error(out)
	}
}

// files follows what a container runtime writes.
func (f *logFleet) files(t *testing.T) {
	f.Write("pods/shop_orders-7_b1/orders/0.log", time.Now().UTC().Format(time.RFC3339Nano)+" stderr F written by a container\n")
	if e := f.says("written by a container"); e.Log.Source != "pods" || e.Log.Form != "cri" || e.Log.Attributes["k8s.pod.name"] != "orders-7" {
		t.Errorf("%+v", e.Log)
	}
}
