package main

import (
	"context"
	"embed"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"
)

//go:embed testdata
var configs embed.FS

// peer is one way to run a proxy.
type peer struct {
	name    string // as in groups and in results
	title   string
	files   []string // templates under testdata, rendered into the peer's folder
	command []string // templates too
	binary  string   // must exist, else the peer is left out
	checks  bool     // refuses requests without a token

	behind string   // the peer that it forwards to and that is started before it; empty: the backend
	told   string   // file that says where requests go; empty: Listen
	speaks protocol // of the backend that it stands before
	side   string   // of a hop
	logs   bool     // it writes an access log
	fed    bool     // it is the control of a fleet whose two sidecars requests go through
}

// place is what templates may use.
type place struct {
	Dir     string // the peer's own folder
	Keys    string // folder with cert.pem, key.pem and jwks.json
	Listen  string // host:port to serve at
	Admin   string // another free one
	Backend string // host:port
	Behind  string // host:port of the peer behind it
	Speaks  protocol
	Side    string
	Logs    bool
	Rules   string // folder with the Core Rule Set, patched for ModSecurity
	Bin     string
	Host    string
	Body    string // what the backend answers
}

var nginxCommand = []string{nginxBinary, "-p", "{{.Dir}}", "-c", "{{.Dir}}/nginx.conf", "-e", "{{.Dir}}/error.log"}

const nginxBinary = "/usr/sbin/nginx"

func palisadePeer(name, title, modelFile string, checks bool) peer {
	return peer{
		name: name, title: title, checks: checks, files: []string{modelFile, "openapi.yaml", "bench.cedar"}, binary: "{{.Bin}}/palisade",
		command: []string{"{{.Bin}}/palisade", "edge", "--quiet", "--state", "{{.Dir}}/state", "{{.Dir}}/" + modelFile},
	}
}

var peers = []peer{
	{name: "nginx", title: "nginx", files: []string{"nginx.conf"}, command: nginxCommand, binary: nginxBinary},
	{name: "caddy", title: "Caddy", files: []string{"Caddyfile"}, command: []string{"{{.Bin}}/caddy", "run", "--config", "{{.Dir}}/Caddyfile", "--adapter", "caddyfile"}, binary: "{{.Bin}}/caddy"},
	palisadePeer("palisade", "Palisade: authorisation for anyone, event", "plain.yaml", false),
	palisadePeer("palisade-jwt", "Palisade: JWT, authorisation, limits, event", "jwt.yaml", true),
	{name: "nginx-modsecurity", title: "nginx + ModSecurity + CRS", files: []string{"nginx.conf", "modsecurity.conf"}, command: nginxCommand, binary: nginxBinary},
	{
		name: "coraza", title: "Coraza + CRS behind net/http", binary: "{{.Bin}}/corazaproxy",
		command: []string{"{{.Bin}}/corazaproxy", "-listen", "{{.Listen}}", "-backend", "{{.Backend}}", "-cert", "{{.Keys}}/cert.pem", "-key", "{{.Keys}}/key.pem"},
	},
	palisadePeer("palisade-full", "Palisade: JWT, authorisation, limits, CRS, OpenAPI, event", "full.yaml", true),
}

// tokens are those that clients of p present.
func (b *bench) tokens(p *peer, bare bool) []string {
	if bare && !p.checks {
		return []string{""}
	}
	return b.keys.tokens
}

func peerNamed(name string) *peer {
	for _, all := range [][]peer{peers, hopPeers} {
		for i := range all {
			if all[i].name == name {
				return &all[i]
			}
		}
	}
	return nil
}

// bench is what all groups share.
type bench struct {
	o       *options
	keys    *keys
	place   place // Keys, Backend, Rules, Bin and Host
	backend *process
	calls   *process            // the backend of gRPC; nil until it is needed
	at      map[protocol]string // where backends listen
}

// newBench makes keys, patches the rule set and starts the backend: nginx that answers from memory, so that its
// own cost stays small on a machine that it shares with what is measured.
func newBench(ctx context.Context, o *options) (*bench, error) {
	bin, err := filepath.Abs(o.binaries)
	if err != nil {
		return nil, err
	}
	b := &bench{o: o, place: place{Bin: bin, Host: host, Keys: filepath.Join(o.work, "keys"), Rules: filepath.Join(o.work, "rules"), Body: strings.Repeat("palisade-", 114)[:answerBytes-1] + "\\n"}}
	if err := os.Mkdir(b.place.Keys, 0o755); err != nil {
		return nil, err
	}
	if b.keys, err = makeKeys(b.place.Keys, connections); err != nil {
		return nil, err
	}
	if err := makeHopKeys(b.place.Keys); err != nil {
		return nil, fmt.Errorf("making the certificates of a hop: %w", err)
	}
	if o.rules != "" {
		if err := patchRules(o.rules, b.place.Rules); err != nil {
			return nil, fmt.Errorf("copying the rule set: %w", err)
		}
	}
	backend := &peer{name: "backend", files: []string{"backend.conf"}, command: []string{nginxBinary, "-p", "{{.Dir}}", "-c", "{{.Dir}}/backend.conf", "-e", "{{.Dir}}/error.log"}}
	p, at, err := b.start(ctx, backend, "")
	if err != nil {
		return nil, err
	}
	b.backend, b.place.Backend = p, at.Listen
	b.at = map[protocol]string{http1TLS: at.Listen, http1: at.Listen, http2: at.Admin}
	return b, nil
}

// close stops the backends.
func (b *bench) close() {
	b.backend.stop()
	if b.calls != nil {
		b.calls.stop()
	}
}

// launch starts a peer and those behind it, and returns where requests to it go. A peer without a command is the backend
// itself.
func (b *bench) launch(ctx context.Context, p *peer) (procs []*process, address string, err error) {
	if p.speaks == grpc {
		if err := b.startCalls(ctx); err != nil {
			return nil, "", err
		}
	}
	if len(p.command) == 0 {
		return nil, b.at[p.speaks], nil
	}
	behind := ""
	if p.behind != "" {
		if procs, behind, err = b.launch(ctx, peerNamed(p.behind)); err != nil {
			return nil, "", err
		}
	}
	proc, at, err := b.start(ctx, p, behind)
	if err != nil {
		stopAll(procs)
		return nil, "", err
	}
	if p.fed {
		return b.attachSidecars(ctx, at, proc)
	}
	procs = append(procs, proc)
	if p.told == "" {
		return procs, at.Listen, nil
	}
	told, err := os.ReadFile(at.render(p.told, p.name))
	if err != nil {
		stopAll(procs)
		return nil, "", err
	}
	return procs, string(told), nil
}

// startCalls starts the backend of gRPC, once.
func (b *bench) startCalls(ctx context.Context) error {
	if b.calls != nil {
		return nil
	}
	p, at, err := b.start(ctx, &peer{name: "calls", command: []string{"{{.Bin}}/benchmark", serveCalls, "{{.Listen}}"}}, "")
	if err != nil {
		return err
	}
	b.calls, b.at[grpc] = p, at.Listen
	return nil
}

// start renders a peer's files and runs it before the backend of its protocol, or before what stands behind it.
func (b *bench) start(ctx context.Context, p *peer, behind string) (*process, place, error) {
	at := b.place
	at.Behind, at.Speaks, at.Side, at.Logs = behind, p.speaks, p.side, p.logs
	if p.speaks == grpc {
		at.Backend = b.at[grpc]
	}
	at.Dir = filepath.Join(b.o.work, p.name)
	if err := os.MkdirAll(at.Dir, 0o755); err != nil {
		return nil, at, err
	}
	var err error
	if at.Listen, err = freeAddress(ctx); err != nil {
		return nil, at, err
	}
	if at.Admin, err = freeAddress(ctx); err != nil {
		return nil, at, err
	}
	for _, name := range p.files {
		text, err := configs.ReadFile("testdata/" + name)
		if err != nil {
			return nil, at, err
		}
		if err := os.WriteFile(filepath.Join(at.Dir, name), []byte(at.render(string(text), p.name)), 0o644); err != nil {
			return nil, at, err
		}
	}
	command := make([]string, len(p.command))
	for i, c := range p.command {
		command[i] = at.render(c, p.name)
	}
	proc, err := start(ctx, at.Dir, p.name, at.Listen, command)
	return proc, at, err
}

// render fills a template; Name in it is the peer's, Port that of Listen.
func (at place) render(text, name string) string {
	var b strings.Builder
	_, port, _ := net.SplitHostPort(at.Listen) // empty before an address is chosen
	data := struct {
		place
		Name, Port string
	}{at, name, port}
	if err := template.Must(template.New(name).Parse(text)).Execute(&b, data); err != nil {
		return "rendering: " + err.Error() // no proxy starts with this, and its log tells why
	}
	return b.String()
}

// installed reports whether the peer's binary is there.
func (b *bench) installed(p *peer) bool {
	if p.binary == "" {
		return true
	}
	_, err := os.Stat(b.place.render(p.binary, p.name))
	return err == nil
}

// patchRules copies the Core Rule Set to where ModSecurity can load it: it takes no @ in a path, and no chained
// rule without actions, which gets t:none.
func patchRules(from, to string) error {
	const rule = `    SecRule TX:EARLY_BLOCKING "@eq 1"`
	if err := os.CopyFS(filepath.Join(to, "crs"), os.DirFS(filepath.Join(from, "@owasp_crs"))); err != nil {
		return err
	}
	for _, name := range []string{"REQUEST-949-BLOCKING-EVALUATION.conf", "RESPONSE-959-BLOCKING-EVALUATION.conf"} {
		text, err := os.ReadFile(filepath.Join(from, "@owasp_crs", name))
		if err != nil {
			return err
		}
		path := filepath.Join(to, "crs", name)
		if err := os.Remove(path); err != nil { // the copy is read-only
			return err
		}
		patched := strings.ReplaceAll(string(text), rule+"\n", rule+" \"t:none\"\n")
		if err := os.WriteFile(path, []byte(patched), 0o644); err != nil {
			return err
		}
	}
	setup, err := os.ReadFile(filepath.Join(from, "@crs-setup.conf.example"))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(to, "crs-setup.conf"), setup, 0o644)
}

// versions asks every program for its own.
func (b *bench) versions(ctx context.Context) map[string]string {
	out := map[string]string{}
	for name, command := range map[string][]string{
		"nginx": {nginxBinary, "-v"}, "caddy": {b.place.Bin + "/caddy", "version"}, "palisade": {b.place.Bin + "/palisade", "version"},
		"haproxy":     {"dpkg-query", "-W", "-f", "${Version}", "haproxy"},
		"modsecurity": {"dpkg-query", "-W", "-f", "${Version}", "libmodsecurity3"},
		"coraza":      {"go", "list", "-m", "-f", "{{.Version}}", "github.com/corazawaf/coraza/v3"},
		"crs":         {"go", "list", "-m", "-f", "{{.Version}}", "github.com/corazawaf/coraza-coreruleset/v4"},
	} {
		text, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput()
		if err != nil || b.o.hop != (name == "haproxy") && name != "nginx" && name != "palisade" {
			continue // a version that cannot be told is left out, and one that takes no part
		}
		out[name] = strings.TrimPrefix(strings.TrimSpace(string(text)), "nginx version: nginx/")
		out[name], _, _ = strings.Cut(strings.TrimPrefix(out[name], "palisade "), " h1:")
	}
	return out
}
