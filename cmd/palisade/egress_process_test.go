package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/palisade-security/palisade/internal/fleettest"
	"github.com/palisade-security/palisade/internal/porttest"
)

// outsideModel is a service that may reach some hosts outside. All but the last two resolve to where they may lead.
const outsideModel = `version: 1
fleet: shop
trust_domain: shop.example
edge: {admin: "127.0.0.1:0", listeners: {main: {address: "127.0.0.1:0", tls: {local: true}}}}
services:
  web:
    address: "http://127.0.0.1:1"
    egress:
      - {host: api.example.com}
      - {host: plain.example.com, protocol: http}
      - {host: both.example.com, protocol: http}
      - {host: turns.example.com, protocol: http}
      - {host: inside.example.com, protocol: http}
      - {host: cloud.example.com, protocol: http}
mesh: {control: {address: %q, bus: {listen: %q}}}
`

// The addresses that stand for the Internet, for a network of our own and for what tells a cloud's machines their secrets.
const (
	publicAt = "9.9.9.9"
	insideAt = "10.66.0.9"
	cloudAt  = "169.254.169.254"
)

// outsideScript asks the way out of a service, and prints what comes of each.
const outsideScript = `
ask() { name=$1; shift; echo "$name: $(curl -skm20 "$@" || echo none)"; }
ask tls https://api.example.com/a
ask plain http://plain.example.com/b
ask both http://both.example.com/c
ask turns http://turns.example.com/d
ask inside http://inside.example.com/e
ask cloud http://cloud.example.com/f
ask undeclared http://other.example.com/g
ask address http://9.9.9.9/h
ask host -H 'Host: other.example.com' http://plain.example.com/i
ask sni --connect-to other.example.com:443:api.example.com:443 https://other.example.com/j
ask second http://plain.example.com/k -H 'Host: plain.example.com' --next -skm20 -H 'Host: inside.example.com' http://plain.example.com/l
`

// TestEgress holds what a process that "palisade run" starts reaches outside the fleet: what is declared, at addresses of the
// Internet, whatever names lead to and whenever they change their mind.
func TestEgress(t *testing.T) {
	if !inNetwork(t, "--mount") {
		return
	}
	d := &daemon{Fleet: fleettest.New(t)}
	d.Write("resolv.conf", "nameserver 127.0.0.1\n")
	for _, words := range []string{
		"ip address add " + publicAt + "/32 dev lo", "ip address add " + insideAt + "/32 dev lo", "ip address add " + cloudAt + "/32 dev lo",
		"mount --bind " + d.Path("resolv.conf") + " /etc/resolv.conf",
	} {
		if out, err := exec.CommandContext(t.Context(), "sh", "-c", words).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v %s", words, err, out)
		}
	}
	resolver(t)
	var asked log
	for _, at := range []string{publicAt, insideAt, cloudAt} {
		server := httptest.NewUnstartedServer(asked.as(at))
		server.Listener = listenAt(t, at+":80")
		server.Start()
		defer server.Close()
		secure := httptest.NewUnstartedServer(asked.as(at))
		secure.Listener = listenAt(t, at+":443")
		secure.StartTLS()
		defer secure.Close()
	}
	ports := porttest.Free(t, 2)
	d.at = ports[0]
	d.Write("palisade.yaml", fmt.Sprintf(outsideModel, ports[0], ports[1]))
	d.startControl()
	d.Write("web.token", d.must("join", "service/web"))
	r := verb(t, nil, "run", "-q", "--service=web", "--control="+d.at, "--trust-domain=shop.example", "--join-token-file="+d.Path("web.token"), "--listen=127.0.0.1:0",
		"--state="+d.Path("web"), "--capture", "--", "bash", "-c", outsideScript)
	want := `tls: 9.9.9.9 api.example.com /a
plain: 9.9.9.9 plain.example.com /b
both: 9.9.9.9 both.example.com /c
turns: 9.9.9.9 turns.example.com /d
inside: none
cloud: none
undeclared: none
address: none
host: none
sni: none
second: 9.9.9.9 plain.example.com /knone
`
	if r.out != want {
		t.Errorf("ended with %d\n%s\nwant\n%s\n%s", r.code, r.out, want, r.err)
	}
	if got := asked.all(); len(got) != 5 || strings.Contains(strings.Join(got, "\n"), insideAt) || strings.Contains(strings.Join(got, "\n"), cloudAt) {
		t.Errorf("servers were asked %q", got)
	}
	d.recorded("web", `"hostname":"api.example.com"`, `"hostname":"both.example.com"`, "address-not-public", `"hostname":"9.9.9.9"`, "call-not-declared", "other.example.com")
}

// log is what servers were asked.
type log struct {
	mu    sync.Mutex
	lines []string
}

// as is a server with a name.
func (l *log) as(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		line := name + " " + r.Host + " " + r.URL.Path
		l.mu.Lock()
		l.lines = append(l.lines, line)
		l.mu.Unlock()
		fmt.Fprint(w, line)
	})
}

func (l *log) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines
}

func listenAt(t *testing.T, at string) net.Listener {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", at)
	must(t, err)
	return ln
}

// resolver answers who asks for names of example.com. One of them leads outside when it is asked for the first time, and inside from then on.
func resolver(t *testing.T) {
	t.Helper()
	conn, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", "127.0.0.1:53")
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	t.Cleanup(func() { cancel(); _ = conn.Close(); <-done })
	leads := map[string][]string{
		"api.example.com.": {publicAt}, "plain.example.com.": {publicAt}, "both.example.com.": {insideAt, publicAt}, "turns.example.com.": {publicAt},
		"inside.example.com.": {insideAt}, "cloud.example.com.": {cloudAt}, "other.example.com.": {publicAt},
	}
	go func() {
		defer close(done)
		packet := make([]byte, 4096)
		for ctx.Err() == nil {
			n, from, err := conn.ReadFrom(packet)
			if err != nil {
				continue
			}
			var m dnsmessage.Message
			if m.Unpack(packet[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			q := m.Questions[0]
			answer := dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true, RecursionAvailable: true}, Questions: m.Questions}
			if q.Type == dnsmessage.TypeA {
				for _, at := range leads[q.Name.String()] {
					answer.Answers = append(answer.Answers, dnsmessage.Resource{
						Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1}, Body: &dnsmessage.AResource{A: netip.MustParseAddr(at).As4()},
					})
				}
				if q.Name.String() == "turns.example.com." {
					leads[q.Name.String()] = []string{insideAt}
				}
			}
			if packed, err := answer.Pack(); err == nil {
				_, _ = conn.WriteTo(packed, from)
			}
		}
	}()
}
