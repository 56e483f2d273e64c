package app

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/palisade-security/palisade/app/observe"
	"github.com/palisade-security/palisade/app/process"
	"github.com/palisade-security/palisade/control/wire"
	"github.com/palisade-security/palisade/model"
)

// Up runs a whole fleet on one machine: its services, then the edge before them. It blocks until ctx ends,
// then stops everything it started, in order.
func Up(ctx context.Context, o *Options, reload <-chan struct{}) error {
	st := o.style()
	e, findings, err := openEdge(ctx, o, true)
	o.tell(findings)
	if err != nil {
		return err
	}
	defer e.close()
	specs, err := e.specs()
	if err != nil {
		return err
	}
	fmt.Fprintf(o.Err, "%s %s  snapshot %s\n", st.Paint(observe.Bold, "palisade up"), e.gate.Snapshot.Fleet, short(e.gate.Snapshot.Version))
	if err := e.freePorts(ctx); err != nil {
		return err
	}
	stopMesh, err := e.startMesh(ctx)
	if err != nil {
		return err
	}
	defer stopMesh()
	if err := e.encloseAll(ctx, specs); err != nil {
		return err
	}
	width := nameWidth(specs)
	group := process.New(specs, process.Events{
		Isolated: e.isolated,
		Stopping: func(name string) {
			if e.mesh != nil {
				e.mesh.Sidecar(name).Release()
			}
		},
		Output: func(name, line string) {
			fmt.Fprintf(o.Err, "%s\n", st.Paint(observe.Faint, fmt.Sprintf("%-*s | %s", width, name, line)))
		},
		Waiting: func(name, text string) {
			fmt.Fprintf(o.Err, "  %s %-*s %s\n", st.Paint(observe.Warn, "…"), width, name, observe.Printable(text))
		},
		Ready: func(name string, took time.Duration) {
			fmt.Fprintf(o.Err, "  %s %-*s ready on %s  %s\n", st.Paint(observe.Good, "✓"), width, name, addressOf(specs, name), st.Paint(observe.Faint, took.Round(time.Millisecond).String()))
		},
	})
	if err := group.Start(ctx); err != nil {
		return err
	}
	defer func() {
		fmt.Fprintln(o.Err, "stopping services")
		group.Stop()
	}()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case err := <-group.Exited():
			cancel(err) // one service down is a broken fleet: say so and end, rather than serve half of it
		case <-ctx.Done():
		}
	}()
	return e.run(ctx, func() error { return e.welcome(o.Err) }, reload)
}

// freePorts finds out that a port of the edge is taken before any service is started.
func (e *edge) freePorts(ctx context.Context) error {
	ed := &e.gate.Snapshot.Edge
	places := map[string]string{"edge.admin": ed.Admin, "mesh.control.listen": e.ledgerAt()}
	for name, l := range ed.Listeners {
		places["edge.listeners."+name+".address"] = l.Address
		places["edge.listeners."+name+".redirect_from"] = l.RedirectFrom
	}
	if in := e.gate.Snapshot.Intake; in != nil {
		places["intake.http"], places["intake.syslog"] = in.HTTP, in.Syslog
	}
	for _, key := range slices.Sorted(maps.Keys(places)) {
		if places[key] == "" {
			continue
		}
		var lc net.ListenConfig
		ln, err := lc.Listen(ctx, "tcp", places[key])
		if err != nil {
			return fmt.Errorf("%s: %w; stop what listens there, or choose another port", key, err)
		}
		if err := ln.Close(); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return nil
}

// Edge runs the data path alone, before services that others run. Development providers are refused.
func Edge(ctx context.Context, o *Options, reload <-chan struct{}) error {
	e, findings, err := openEdge(ctx, o, false)
	o.tell(findings)
	if err != nil {
		return err
	}
	defer e.close()
	return e.run(ctx, func() error {
		_, err := fmt.Fprintf(o.Err, "palisade edge %s serves %s, admin on http://%s\n", short(e.gate.Snapshot.Version), strings.Join(e.urls(), " "), e.gate.Snapshot.Edge.Admin)
		return err
	}, reload)
}

// nameWidth is how wide a column of the names of services is.
func nameWidth(specs []process.Spec) int {
	width := 10
	for _, s := range specs {
		width = max(width, len(s.Name))
	}
	return width
}

func addressOf(specs []process.Spec, name string) string {
	i := slices.IndexFunc(specs, func(s process.Spec) bool { return s.Name == name })
	if i < 0 {
		return ""
	}
	return specs[i].Address
}

// specs are the declared processes with their environment: their own variables, LISTEN_ADDRESS, and for every
// service that they may call its address as NAME_ADDRESS.
func (e *edge) specs() ([]process.Spec, error) {
	var out []process.Spec
	for _, p := range e.declared.Processes() {
		u, err := url.Parse(p.Address)
		if err != nil {
			return nil, fmt.Errorf("services.%s.address: %w", p.Service, err)
		}
		env := lent(os.Environ())
		declared, err := values(p.Env)
		if err != nil {
			return nil, fmt.Errorf("services.%s.run.env: %w", p.Service, err)
		}
		for k, v := range declared {
			env = append(env, k+"="+v)
		}
		env = append(env, "LISTEN_ADDRESS="+u.Host)
		for _, s := range e.gate.Snapshot.Services {
			if e.mesh == nil && slices.Contains(s.Callers, p.Service) {
				env = append(env, variable(s.Name)+"_ADDRESS="+s.Address)
			}
		}
		out = append(out, process.Spec{Name: p.Service, Command: p.Command, Build: p.Build, Dir: p.Dir, Env: env, Address: u.Host, Ready: p.Ready})
	}
	return out, nil
}

// lent is what a service gets of our own environment: nothing that is for Palisade. Some of it is a secret, such as an administrator's
// token, or says where one lies, and a variable that comes later may be.
func lent(env []string) []string {
	return slices.DeleteFunc(env, func(v string) bool { return strings.HasPrefix(v, "PALISADE_") })
}

// variable is a service's name as part of an environment variable.
func variable(service string) string {
	return strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(service))
}

// welcome shows where the fleet is and three requests to begin with.
func (e *edge) welcome(w io.Writer) error {
	st := e.o.style()
	var b strings.Builder
	urls := e.urls()
	fmt.Fprintf(&b, "\n%s %s\n", st.Paint(observe.Bold, "The edge serves"), strings.Join(urls, "  "))
	if e.console != nil {
		b.WriteString("  " + e.console.greeting(e.o) + "\n")
	}
	if a := e.gate.Snapshot.Edge.Admin; a != "" {
		fmt.Fprintf(&b, "  metrics and health  http://%s/metrics  /healthz  /readyz\n", a)
	}
	if at := e.ledgerAt(); at != "" {
		fmt.Fprintf(&b, "  ledger for witnesses https://%s%s\n", at, strings.TrimSuffix(wire.LedgerPath, "/"))
	}
	ca := ""
	if e.ca != nil {
		ca = " --cacert " + shellPath(e.ca.CertificatePath())
		fmt.Fprintf(&b, "  local authority     %s\n", e.ca.CertificatePath())
	}
	fmt.Fprintf(&b, "\n%s\n", st.Paint(observe.Bold, "Try, in another terminal"))
	for _, line := range e.examples(urls, ca) {
		fmt.Fprintf(&b, "  %s\n", line)
	}
	b.WriteString("\nCtrl-C stops everything. One line per request follows.\n\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// examples are three curl commands made from the model: one that anyone may, one that needs a token, one
// that is refused.
func (e *edge) examples(urls []string, ca string) []string {
	if len(urls) == 0 {
		return nil
	}
	var open, closed string
	role, closedRole := "", ""
	for _, r := range e.gate.Snapshot.Routes {
		path := samplePath(r.Path)
		if path == "" || !slices.Contains(r.Methods, "GET") || strings.HasPrefix(r.Host, "*") || len(r.Upgrade) > 0 || r.Stream {
			continue
		}
		u := urlFor(urls, r.Host) + path
		for _, g := range r.Allow {
			if len(g.Methods) > 0 && !slices.Contains(g.Methods, "GET") {
				continue
			}
			switch {
			case g.Anyone && open == "":
				open = u
			case len(g.Roles) > 0 && (closed == "" || len(r.Path) < len(closedRole)):
				closed, role, closedRole = u, g.Roles[0], r.Path
			}
		}
	}
	curl := "curl" + ca + " "
	var out []string
	if open != "" {
		out = append(out, curl+open)
	}
	if closed != "" {
		out = append(out,
			curl+closed+"   # 401: nobody signed in",
			curl+`-H "Authorization: Bearer $(`+selfCommand()+` token --as user-1 --role `+role+e.o.named()+`)" `+closed)
	}
	return out
}

// selfCommand is how this program was started, as far as it can be typed again.
func selfCommand() string {
	if exe, err := os.Executable(); err == nil && strings.Contains(exe, "go-build") {
		return "go run ./cmd/palisade"
	}
	return os.Args[0]
}

// samplePath fills a template in; a subtree has no obvious sample.
func samplePath(template string) string {
	t, err := model.ParseTemplate(template)
	if err != nil {
		return ""
	}
	var b strings.Builder
	for _, s := range t {
		b.WriteByte('/')
		switch {
		case s.Rest:
			return ""
		case s.Param != "":
			b.WriteByte('1')
		default:
			b.WriteString(s.Literal)
		}
	}
	return b.String()
}

func urlFor(urls []string, host string) string {
	for _, u := range urls {
		if p, err := url.Parse(u); err == nil && p.Hostname() == host {
			return u
		}
	}
	return urls[0]
}

// shellPath is the path as short as it can be typed from here.
func shellPath(path string) string {
	if wd, err := os.Getwd(); err == nil {
		if rel, ok := strings.CutPrefix(path, wd+"/"); ok {
			return rel
		}
	}
	return path
}
