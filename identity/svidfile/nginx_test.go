package svidfile

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/palisade-security/palisade/identity/authority"
	"github.com/palisade-security/palisade/identity/peer"
	"github.com/palisade-security/palisade/internal/hosttest"
	"github.com/palisade-security/palisade/internal/porttest"
)

// nginxConfig demands an SVID of our trust domain. What nginx has no word for is the URI in it: it hands the certificate on.
const nginxConfig = `daemon off;
pid %[1]s/nginx.pid;
error_log %[1]s/error.log;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi; uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
	server {
		listen %[2]s ssl;
		ssl_protocols TLSv1.2 TLSv1.3;
		ssl_certificate %[3]s/svid.pem;
		ssl_certificate_key %[3]s/key.pem;
		ssl_client_certificate %[3]s/bundle.pem;
		ssl_verify_client on;
		ssl_verify_depth 2;
		location / {
			add_header X-Verify $ssl_client_verify;
			add_header X-Subject "$ssl_client_s_dn";
			return 200 $ssl_client_escaped_cert;
		}
	}
}
`

// nginx serves with the SVID of catalog, which palisade keeps in files.
type nginx struct {
	*issuer
	t       *testing.T
	files   string
	config  string
	address string
	written chan Written
}

func startNginx(t *testing.T) *nginx {
	t.Helper()
	hosttest.Need(t, "nginx")
	n := &nginx{issuer: newIssuer(t, catalog), t: t, files: t.TempDir(), address: porttest.Free(t, 1)[0], written: make(chan Written, 8)}
	dir, err := os.MkdirTemp("", "palisade-nginx-") //nolint:usetesting // nginx goes on for a moment after its master
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	n.config = filepath.Join(dir, "nginx.conf")
	must(t, os.WriteFile(n.config, fmt.Appendf(nil, nginxConfig, dir, n.address, n.files), 0o600))
	run(t, func(ctx context.Context) error {
		return Watch(ctx, n.options(n.files, ""), func(_ context.Context, w Written) { n.written <- w })
	})
	await(t, n.written)
	run(t, func(ctx context.Context) error {
		cmd := exec.CommandContext(ctx, "nginx", "-c", n.config)
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
		if out, err := cmd.CombinedOutput(); ctx.Err() == nil {
			return fmt.Errorf("nginx: %w: %s", err, out)
		}
		return nil
	})
	return n
}

// svid makes an SVID of a service.
func (n *nginx) svid(id string) *tls.Certificate {
	n.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(n.t, err)
	svid, err := n.authority.SignX509(n.t.Context(), authority.X509Request{ID: spiffeid.RequireFromString(id), Public: key.Public()})
	must(n.t, err)
	return &tls.Certificate{Certificate: svid.Chain, PrivateKey: key}
}

// get asks nginx as a service, which expects catalog there, and wants TLS of a version.
func (n *nginx) get(shown *tls.Certificate, expect string, version uint16) (*http.Response, string, error) {
	n.t.Helper()
	trust, err := peer.NewTrust(n.authority.Bundle())
	must(n.t, err)
	verifier := peer.NewVerifier(new(peer.Live))
	verifier.SetTrust(trust)
	config := peer.ClientConfig(func() (*tls.Certificate, error) { return shown, nil }, verifier, peer.OneOf(spiffeid.RequireFromString(expect)))
	config.MinVersion, config.MaxVersion = min(config.MinVersion, version), version
	client := http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(n.t.Context(), http.MethodGet, "https://"+n.address, nil)
	must(n.t, err)
	resp, err := client.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), err
}

// ready waits until nginx answers.
func (n *nginx) ready() {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), time.Minute)
	defer cancel()
	shown := n.svid(orders)
	for {
		_, _, err := n.get(shown, catalog, tls.VersionTLS13)
		switch {
		case err == nil:
			return
		case ctx.Err() != nil:
			n.t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// TestNginx: nginx serves with an SVID of ours and demands one, takes over renewed ones, and refuses others.
func TestNginx(t *testing.T) {
	n := startNginx(t)
	n.ready()
	mine := n.svid(orders)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		resp, body, err := n.get(mine, catalog, version)
		must(t, err)
		if resp.StatusCode != http.StatusOK || resp.Header.Get("X-Verify") != "SUCCESS" {
			t.Fatalf("%s %q", resp.Status, resp.Header)
		}
		text, err := url.PathUnescape(body)
		must(t, err)
		block, _ := pem.Decode([]byte(text))
		cert, err := x509.ParseCertificate(block.Bytes)
		must(t, err)
		if len(cert.URIs) != 1 || cert.URIs[0].String() != orders { // what nginx hands on says who it was
			t.Errorf("handed on %v", cert.URIs)
		}
		if strings.Contains(resp.Header.Get("X-Subject"), "orders") { // its own word, the subject, does not
			t.Errorf("subject %q", resp.Header.Get("X-Subject"))
		}
	}
	if _, _, err := n.get(mine, orders, tls.VersionTLS13); err == nil {
		t.Error("nginx is taken for another service")
	}
	stranger := &nginx{issuer: newIssuer(t), t: t}
	for name, shown := range map[string]*tls.Certificate{"no certificate": {}, "another authority of the same name": stranger.svid(orders)} {
		resp, _, err := n.get(shown, catalog, tls.VersionTLS12)
		if err == nil && resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s", name, resp.Status)
		}
	}
	n.renewed(t)
}

// renewed: after a reload nginx shows the new SVID, and nobody was refused meanwhile.
func (n *nginx) renewed(t *testing.T) {
	serial := func() string {
		resp, _, err := n.get(n.svid(orders), catalog, tls.VersionTLS13)
		must(t, err)
		return resp.TLS.PeerCertificates[0].SerialNumber.String()
	}
	before := serial()
	n.local.Renew()
	await(t, n.written)
	if out, err := exec.CommandContext(t.Context(), "nginx", "-c", n.config, "-s", "reload").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for ctx := t.Context(); serial() == before && ctx.Err() == nil; {
		time.Sleep(5 * time.Millisecond)
	}
}

// TestCurl: curl shows an SVID from files. It can check the roots, and no SPIFFE ID: an SVID names no host.
func TestCurl(t *testing.T) {
	hosttest.Need(t, "curl")
	n := startNginx(t)
	n.ready()
	dir := t.TempDir()
	if _, err := Write(t.Context(), n.options(dir, "")); err != nil {
		t.Fatal(err)
	}
	curl := func(args ...string) (string, error) {
		var out bytes.Buffer
		args = append([]string{"--silent", "--show-error", "--cert", filepath.Join(dir, Chain), "--key", filepath.Join(dir, Key), "--cacert", filepath.Join(dir, Bundle)}, args...)
		cmd := exec.CommandContext(t.Context(), "curl", append(args, "https://"+n.address)...)
		cmd.Stdout, cmd.Stderr = &out, &out
		err := cmd.Run()
		return out.String(), err
	}
	if out, err := curl("--insecure", "--dump-header", "-"); err != nil || !strings.Contains(out, "X-Verify: SUCCESS") {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := curl(); err == nil || !strings.Contains(out, "(60)") {
		t.Errorf("curl takes a certificate without a host name: %v: %s", err, out)
	}
}
