package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/internal/hosttest"
	"github.com/palisade-security/palisade/internal/porttest"
	"github.com/palisade-security/palisade/keyring"
)

// TestConsoleProvider holds that people sign in to a console over the network at an OpenID provider of others, in a real browser, with
// the roles that they have there.
func TestConsoleProvider(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT TESTED: a browser takes long")
	}
	hosttest.Need(t, "node", "chromium")
	scripts, err := filepath.Abs("../../console/browser")
	must(t, err)
	at := porttest.Free(t, 3)
	_, port, _ := strings.Cut(at[1], ":")
	base, issuer := "https://console.localhost:"+port, "https://localhost:"+strings.TrimPrefix(at[2], "127.0.0.1:")

	d := newControl(t, fmt.Sprintf("bus: {listen: %q}\n    console: {url: %q, listen: %q, tls: {local: true}, client_id: palisade-console, client_secret: {from_env: CONSOLE_SECRET}, scopes: [roles]}", at[0], base, at[1]))
	d.Edit("palisade.yaml", `staff: {issuer: "https://staff.example", audience: [shop], jwks_file: staff.json}`, fmt.Sprintf("staff: {issuer: %q, audience: [shop]}", issuer))
	certificate(t, d, "localhost")
	t.Setenv("SSL_CERT_FILE", d.Path(".palisade/ca/local-ca.pem"))
	t.Setenv("CONSOLE_SECRET", "a secret: with/every+kind of%letter")
	provider := exec.CommandContext(t.Context(), "node", filepath.Join(scripts, "provider.mjs"), issuer, d.Path("cert.pem"), d.Path("key.pem"), base+"/sign-in/callback", os.Getenv("CONSOLE_SECRET"))
	provider.Stderr = &d.Messages
	out, err := provider.StdoutPipe()
	must(t, err)
	must(t, provider.Start())
	t.Cleanup(func() { _ = provider.Process.Kill(); _ = provider.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "serves\n" {
		t.Fatalf("the provider says %q: %v\n%s", line, err, &d.Messages)
	}

	d.startControl()
	b := newWebBrowser(t, d.Fleet, "viewer")
	if b.link.Host != "console.localhost:"+port {
		t.Errorf("links lead to %s", b.link.Host)
	}
	if status, body := b.ask("POST", "/sign-in", "code="+b.link.Fragment); !strings.Contains(body, "Sign out") {
		t.Errorf("a link of the terminal opens nothing: %d\n%s", status, body)
	}
	if out, err := exec.CommandContext(t.Context(), "node", filepath.Join(scripts, "sign-in.mjs"), base, issuer).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s\ncontrol:\n%s", err, out, &d.Messages)
	}
	for query, want := range map[string]string{
		"reason:console-sign-in outcome:done":   "staff:alice",
		"reason:console-sign-in outcome:denied": "console-sign-in",
		"reason:console-sign-out":               "staff:alice",
	} {
		d.Eventually(query, func() bool {
			return strings.Contains(d.verb(append([]string{"events"}, strings.Fields(query)...)...).out, want)
		})
	}
	if log := d.Messages.String(); strings.Contains(log, os.Getenv("CONSOLE_SECRET")) || strings.Contains(log, "code=") {
		t.Errorf("a secret is told:\n%s", log)
	}
}

// certificate writes one of the local authority for a name, with its key.
func certificate(t *testing.T, d *daemon, name string) {
	t.Helper()
	ca, err := keyring.OpenCA(d.Path(".palisade/ca"))
	must(t, err)
	certs, err := ca.Certificates([]string{name})
	must(t, err)
	c, err := certs.GetCertificate(&tls.ClientHelloInfo{ServerName: name})
	must(t, err)
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	must(t, err)
	var chain strings.Builder
	for _, der := range c.Certificate {
		must(t, pem.Encode(&chain, &pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	d.Write("cert.pem", chain.String())
	d.Write("key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
}
