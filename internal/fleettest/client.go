package fleettest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// TLS trusts the local authority of the fleet.
func (f *Fleet) TLS() *tls.Config {
	f.T.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(f.Read(".palisade/ca/local-ca.pem"))) {
		f.T.Fatal("the local authority has no certificate")
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
}

// Dial connects to the edge, whatever the address.
func (f *Fleet) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", f.Edge)
}

// Client speaks HTTP/1.1 or HTTP/2 to the edge, whatever the host.
func (f *Fleet) Client(h2 bool) *http.Client {
	f.T.Helper()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!h2)
	protocols.SetHTTP2(h2)
	tr := &http.Transport{TLSClientConfig: f.TLS(), Protocols: protocols, DisableCompression: true, MaxIdleConnsPerHost: 16, DialContext: f.Dial}
	f.T.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: stay}
}

func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// URL is that of a path at the edge.
func (f *Fleet) URL(path string) string {
	_, port, _ := net.SplitHostPort(f.Edge)
	return "https://" + net.JoinHostPort(f.Host, port) + path
}

// Request makes a request to the edge; header lines are "Name: value".
func (f *Fleet) Request(method, path, body string, header ...string) *http.Request {
	f.T.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(f.T.Context(), method, f.URL(path), r)
	if err != nil {
		f.T.Fatal(err)
	}
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			req.Host = value
			continue
		}
		req.Header.Add(name, value)
	}
	return req
}

// Do makes a request to the edge and sends it.
func (f *Fleet) Do(c *http.Client, method, path, body string, header ...string) *Answer {
	f.T.Helper()
	return f.Send(c, f.Request(method, path, body, header...))
}

// Send sends a request and reads its answer.
func (f *Fleet) Send(c *http.Client, req *http.Request) *Answer {
	f.T.Helper()
	resp, err := c.Do(req)
	if err != nil {
		f.T.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		f.T.Fatal(err)
	}
	return &Answer{resp, string(b)}
}

// Get asks something in the clear: the admin listener, or the one that redirects.
func (f *Fleet) Get(url string) *Answer {
	f.T.Helper()
	req, err := http.NewRequestWithContext(f.T.Context(), http.MethodGet, url, nil)
	if err != nil {
		f.T.Fatal(err)
	}
	return f.Send(&http.Client{Transport: &http.Transport{DisableKeepAlives: true}, CheckRedirect: stay}, req)
}

// Answer is a response with its body read.
type Answer struct {
	*http.Response
	Text string
}

// ID is the request's.
func (a *Answer) ID() string { return a.Header.Get("X-Request-Id") }

// Problem is a problem document (RFC 9457).
type Problem struct {
	Type, Title, Detail, Instance string
	Status                        int
	RequestID                     string `json:"request_id"`
	Reasons                       []any
}

// Problem reads the answer as one.
func (a *Answer) Problem(t *testing.T) (p Problem) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.Text), &p); err != nil {
		t.Errorf("not a problem document: %v: %s", err, a.Text)
	}
	return p
}
