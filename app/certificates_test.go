package app_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/app"
)

// writeCertificate writes a self-signed pair with that common name.
func (f *fleet) writeCertificate(name string) {
	f.T.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.T.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"shop.localhost", "pay.shop.localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		f.T.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		f.T.Fatal(err)
	}
	f.Write("tls/key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})))
	f.Write("tls/cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
}

// shown is the common name of the certificate that a handshake gets.
func (f *fleet) shown() string {
	f.T.Helper()
	d := tls.Dialer{Config: &tls.Config{ServerName: "shop.localhost", InsecureSkipVerify: true}}
	conn, err := d.DialContext(f.T.Context(), "tcp", f.Edge)
	if err != nil {
		f.T.Fatal(err)
	}
	defer conn.Close()
	state := conn.(*tls.Conn).ConnectionState()
	if state.Version != tls.VersionTLS13 || state.CurveID != tls.X25519MLKEM768 {
		f.T.Errorf("TLS %x, %v", state.Version, state.CurveID)
	}
	return state.PeerCertificates[0].Subject.CommonName
}

// TestCertificateFiles replaces certificate files: the new pair is shown, a broken one never.
func TestCertificateFiles(t *testing.T) {
	f := newFleet(t, "tls: {local: true}", "tls: {certificates: [{cert: tls/cert.pem, key: tls/key.pem}]}")
	f.writeCertificate("first")
	f.start()
	if got := f.shown(); got != "first" {
		t.Fatalf("shown %q", got)
	}
	f.writeCertificate("second")
	f.Eventually("the second is shown", func() bool { return f.shown() == "second" })

	f.Write("tls/cert.pem", "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
	a, err := app.Reload(t.Context(), f.options)
	if err != nil || a.Error == "" && len(a.Findings) == 0 {
		t.Errorf("reload: %+v, %v", a, err)
	}
	said := a.Error
	for _, finding := range a.Findings {
		said += finding.String()
	}
	if !strings.Contains(said, "palisade.yaml:") || !strings.Contains(said, "tls.certificates[0]") {
		t.Errorf("the message does not say where: %s", said)
	}
	if got := f.shown(); got != "second" {
		t.Errorf("after a broken file: %q", got)
	}
	f.writeCertificate("third")
	f.Eventually("the third is shown", func() bool { return f.shown() == "third" })
}

// TestNeedsRestart: what a reload cannot change is said, not passed over.
func TestNeedsRestart(t *testing.T) {
	f := startFleet(t)
	f.Edit("palisade.yaml", "admin: "+f.admin, "admin: 127.0.0.1:1", "policies: [policies]", "policies: [policies]\naudit: {keep: 64MiB}", "ready: /healthz}\n    data: [public]\n    expose", "ready: /}\n    data: [public]\n    expose")
	a, err := app.Reload(t.Context(), f.options)
	if err != nil || a.Error != "" {
		t.Fatalf("%+v, %v", a, err)
	}
	var keys []string
	for _, finding := range a.Findings {
		if finding.Code == "needs-restart" {
			keys = append(keys, finding.Key)
		}
	}
	if got := strings.Join(keys, " "); got != "edge.admin audit.keep services.web.run" {
		t.Errorf("warned of %q: %+v", got, a.Findings)
	}
}

// TestFirstPolicy: a policy in a folder that held none is noticed.
func TestFirstPolicy(t *testing.T) {
	f := newFleet(t, "policies: [policies]", "policies: [policies, more]")
	f.Write("more/README", "policies come here\n")
	f.start()
	before := f.version()
	f.Write("more/closed.cedar", "@id(\"closed\")\nforbid (principal, action, resource in Service::\"catalog\");\n")
	f.changed(before)
	if got := f.Do(f.Client(true), "GET", "/catalog", "").StatusCode; got != 403 {
		t.Errorf("status %d", got)
	}
}

// TestStartAgain: a fleet that could not start leaves nothing behind that keeps it from starting.
func TestStartAgain(t *testing.T) {
	f := newFleet(t)
	f.Edit("palisade.yaml", "/web], ready", "/nothing], ready")
	if err := app.Up(t.Context(), f.options, f.reload); err == nil || !strings.Contains(err.Error(), `starting service "web"`) {
		t.Fatalf("started: %v", err)
	}
	f.Edit("palisade.yaml", "/nothing], ready", "/web], ready")
	f.start()
	if a := f.Do(f.Client(false), "GET", "/", ""); a.StatusCode != 200 {
		t.Errorf("status %d", a.StatusCode)
	}
}
