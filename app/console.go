package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/palisade-security/palisade/app/archive"
	"github.com/palisade-security/palisade/console"
	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/keyring"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy/listen"
	"github.com/palisade-security/palisade/store/query"
)

// consoleHost is the name under which browsers of this host find the console. Cookies know no ports: a name of its own keeps its
// sessions from whatever else answers at localhost.
const consoleHost = "console.localhost"

// The bounds of the console's socket.
const (
	consoleConnections = 256
	consoleEach        = 128
	consoleHead        = 10 * time.Second
	consoleWrite       = time.Minute
)

// consoleServer is a console that serves.
type consoleServer struct {
	*console.Console
	ln   net.Listener
	base string // https://host:port

	files *keyring.FileCertificates // that others renew; nil: there are none
}

// bindConsole opens the socket of a console on this host. Its certificate is the local authority's, in the folder ca of state.
func bindConsole(ctx context.Context, address, state string, o *console.Options) (*consoleServer, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("--console: %q is not HOST:PORT; write 127.0.0.1:8444, or off for none", address)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("--console: %s is no loopback address; the console serves browsers of this host (over the network: ssh -L 8444:127.0.0.1:8444 …)", host)
	}
	certs, err := localCertificates(state, consoleHost)
	if err != nil {
		return nil, err
	}
	o.Hosts = []string{consoleHost, "localhost", "127.0.0.1", "::1"}
	s, err := openConsole(ctx, address, true, certs, o)
	if err != nil {
		return nil, fmt.Errorf("--console: %w; stop what listens there, or choose another place with --console HOST:PORT", err)
	}
	_, port, err := net.SplitHostPort(s.ln.Addr().String())
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.base = "https://" + net.JoinHostPort(consoleHost, port)
	return s, nil
}

// bindPublicConsole opens the socket of a console that is served over the network.
func bindPublicConsole(ctx context.Context, d *model.ControlConsole, state string, o *console.Options) (*consoleServer, error) {
	const key = "mesh.control.console"
	at, err := url.Parse(d.URL)
	if err != nil {
		return nil, fmt.Errorf("%s.url: %w", key, err)
	}
	var certs certificates
	if d.TLS.Local {
		certs, err = localCertificates(state, at.Hostname())
	} else {
		certs, err = fileCertificates(ctx, d.TLS.Certificates)
	}
	if err != nil {
		return nil, fmt.Errorf("%s.tls: %w", key, err)
	}
	o.Hosts = []string{strings.ToLower(at.Hostname())}
	s, err := openConsole(ctx, d.Listen, d.TLS.MinVersion == "1.3", certs, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; stop what listens there, or choose another place with listen", key, err)
	}
	s.base = d.URL
	s.files, _ = certs.(*keyring.FileCertificates)
	return s, nil
}

// localCertificates are those of the local authority for a host.
func localCertificates(state, host string) (certificates, error) {
	ca, err := keyring.OpenCA(filepath.Join(state, "ca"))
	if err != nil {
		return nil, err
	}
	return ca.Certificates([]string{host})
}

// openConsole makes a console and opens its socket.
func openConsole(ctx context.Context, address string, newest bool, certs certificates, o *console.Options) (*consoleServer, error) {
	o.Log = slog.Default()
	c, err := console.New(*o)
	if err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	config := listen.Config(newest, certs.GetCertificate)
	config.NextProtos = []string{"h2", "http/1.1"}
	return &consoleServer{Console: c, ln: tls.NewListener(listen.Bounded(ln, consoleConnections, consoleEach), config)}, nil
}

// run serves until ctx ends. Streams that are open then are cut: they have no end of their own.
func (s *consoleServer) run(ctx context.Context, g *errgroup.Group) {
	server := &http.Server{
		Handler: s, ReadHeaderTimeout: consoleHead, ReadTimeout: consoleHead, WriteTimeout: consoleWrite, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx }, ErrorLog: slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug),
	}
	g.Go(func() error {
		s.Run(ctx)
		return nil
	})
	if s.files != nil {
		g.Go(func() error { return s.renew(ctx) })
	}
	g.Go(func() error {
		stop := context.AfterFunc(ctx, func() { _ = server.Close() })
		defer stop()
		if err := server.Serve(s.ln); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serving the console: %w", err)
		}
		return nil
	})
}

// renewEvery is how often certificate files are read again.
const renewEvery = time.Minute

// renew reads certificates again until ctx ends. The last good ones stay.
func (s *consoleServer) renew(ctx context.Context) error {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := s.files.Reload(); err != nil {
				slog.WarnContext(ctx, "the certificates of the console are not read again", "error", err)
			}
		}
	}
}

// localUser is who opens the link that a terminal shows.
const localUser = "local"

// named is the model as it stands behind a verb.
func (o *Options) named() string {
	var b strings.Builder
	for _, path := range o.Paths {
		b.WriteString(" " + shellPath(path))
	}
	if o.State != "" {
		b.WriteString(" --state " + shellPath(o.State))
	}
	return b.String()
}

// greeting says where the console is, and lets whoever sits at the terminal in. A log is told no secret.
func (s *consoleServer) greeting(o *Options) string {
	again := selfCommand() + " console link" + o.named()
	if o.Ask {
		if link, err := s.link(localUser, console.Admin); err == nil {
			return fmt.Sprintf("console             %s   (once, within 5 minutes; another: %s)", link, again)
		}
	}
	return fmt.Sprintf("console             %s   (sign in: %s)", s.base, again)
}

// ConsoleLink prints a link that signs a browser in to the console of what runs on the state directory, once.
func ConsoleLink(ctx context.Context, o *Options, role string) error {
	c, err := o.administer()
	if err != nil {
		return err
	}
	defer c.Close()
	out, err := c.Console(ctx, admin.ConsoleRequest{Role: admin.Role(role)})
	if err != nil {
		return o.asked(err)
	}
	if o.JSON {
		return writeJSON(o.Out, out)
	}
	fmt.Fprintf(o.Err, "signs one browser in, as %s, until %s\n", role, out.Expires.Local().Format(time.TimeOnly))
	_, err = fmt.Fprintln(o.Out, out.URL)
	return err
}

var errNoConsole = &admin.Problem{Status: http.StatusNotFound, Title: "no console", Detail: "what runs here was started without a console; start it with --console 127.0.0.1:0"}

// give makes a link for an administrator.
func (s *consoleServer) give(who string, role admin.Role) (admin.ConsoleResult, error) {
	if s == nil {
		return admin.ConsoleResult{}, errNoConsole
	}
	link, err := s.link(who, console.Role(role))
	if err != nil {
		return admin.ConsoleResult{}, &admin.Problem{Status: http.StatusBadRequest, Title: http.StatusText(http.StatusBadRequest), Detail: err.Error()}
	}
	return admin.ConsoleResult{URL: link, Expires: time.Now().Add(console.LinkLife)}, nil
}

// link is the address of a page that signs in whoever opens it first.
func (s *consoleServer) link(who string, role console.Role) (string, error) {
	path, err := s.Link(who, role)
	return s.base + path, err
}

// Close frees the socket, also of a console that never served. Of no console it does nothing.
func (s *consoleServer) Close() error {
	if s == nil {
		return nil
	}
	if err := s.ln.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// serveConsole opens the console of a fleet on one machine, if it is wanted.
func (e *edge) serveConsole() error {
	if e.o.Console == "" {
		return nil
	}
	c, err := bindConsole(e.ctx, e.o.Console, e.state, &console.Options{
		Name: e.gate.Snapshot.Fleet, Events: consoleEvents{e.memory}, Fleet: upFleet{e}, Planner: upFleet{e}, Record: e.recorder.Act,
	})
	if err != nil {
		return err
	}
	e.console = c
	c.run(e.ctx, e.group)
	return nil
}

// consoleEvents are those of an archive, which may still be opening.
type consoleEvents struct{ admin.Events }

// Last is that of the archive.
func (c consoleEvents) Last(ctx context.Context, q query.Query, n int, from query.Cursor) (*query.Page, error) {
	out, err := c.Events.Last(ctx, q, n, from)
	return out, notYet(err)
}

// Count is that of the archive.
func (c consoleEvents) Count(ctx context.Context, q query.Query, by query.Field, top int) (*query.Counts, error) {
	out, err := c.Events.Count(ctx, q, by, top)
	return out, notYet(err)
}

// Histogram is that of the archive.
func (c consoleEvents) Histogram(ctx context.Context, q query.Query, step time.Duration, by query.Field, top int) (*query.Series, error) {
	out, err := c.Events.Histogram(ctx, q, step, by, top)
	return out, notYet(err)
}

func notYet(err error) error {
	if errors.Is(err, archive.ErrOpening) {
		return console.ErrNotYet
	}
	return err
}

// upFleet is a fleet on one machine as its console sees it.
type upFleet struct{ e *edge }

// Model returns the model in force and the declared one.
func (f upFleet) Model() (*model.Snapshot, *model.Fleet) {
	f.e.mu.Lock()
	defer f.e.mu.Unlock()
	if f.e.declared == nil {
		return f.e.gate.Snapshot, nil
	}
	return f.e.gate.Snapshot, &f.e.declared.Fleet
}

// Explain says what led to a decision, as "palisade explain" does.
func (f upFleet) Explain(e *event.Event, trace []*event.Event) console.Reasons {
	return reasonsOf(e, trace, f.e.serving())
}

// Decide decides, as "palisade try" does.
func (f upFleet) Decide(ctx context.Context, q *console.Question) (*event.Event, error) {
	return decide(ctx, f.e.serving(), q)
}

// State says how the fleet stands.
func (f upFleet) State(context.Context) console.State {
	out := stateOf(f.e.status(time.Now()))
	out.Unready = f.e.ready()
	f.e.mu.Lock()
	defer f.e.mu.Unlock()
	for name, l := range f.e.listeners {
		certs := *l.current.Load()
		for _, host := range l.hosts {
			cert, err := certs.GetCertificate(&tls.ClientHelloInfo{ServerName: host, SupportedVersions: []uint16{tls.VersionTLS13}})
			if err == nil && cert.Leaf != nil {
				out.Certificates = append(out.Certificates, console.Certificate{Name: name + "/" + host, Expires: cert.Leaf.NotAfter})
			}
		}
	}
	return out
}

func reasonsOf(e *event.Event, trace []*event.Event, snap *model.Snapshot) console.Reasons {
	x := explain(e, snap)
	return console.Reasons{Policies: x.Policies, Flips: x.Flips, Stale: x.Stale, Way: wayOf(hopsOf(trace))}
}

func wayOf(hops []*Hop) []*console.Hop {
	out := make([]*console.Hop, len(hops))
	for i, h := range hops {
		out[i] = &console.Hop{Event: h.Event, Next: wayOf(h.Children)}
	}
	return out
}

func decide(ctx context.Context, snap *model.Snapshot, q *console.Question) (*event.Event, error) {
	method, target, err := ParseAttempt(q.Method + " " + q.Target)
	if err != nil {
		return nil, err
	}
	x, _, err := tryOn(ctx, snap, &Attempt{Method: method, Target: target, As: q.As, Roles: q.Roles})
	if err != nil {
		return nil, err
	}
	return x.Event, nil
}

// stateOf is what administrators are told of a fleet, as the console shows it.
func stateOf(s admin.Status) console.State {
	var out console.State
	if r := s.Rollout; r != nil {
		out.Rollout = &console.Rollout{Version: r.Version, Author: r.Author, Since: r.Since, Trials: r.Trials}
	}
	for i := range s.Proxies {
		p := &s.Proxies[i]
		one := console.Proxy{
			Name: path.Base(p.ID), Instance: p.Instance, Version: p.Version, Current: p.Current, Problem: p.Problem, Expires: p.Expires,
			Requests: p.Requests, Errors: p.Errors,
		}
		if !p.Seen.Equal(s.Time) {
			one.Seen = p.Seen
		}
		switch {
		case p.Rejected != "":
			one.Problem = "it did not take the newest model: " + p.Rejected
		case p.Away:
			one.Problem = "not heard of"
		}
		out.Proxies = append(out.Proxies, one)
		if !p.Expires.IsZero() {
			out.Certificates = append(out.Certificates, console.Certificate{Name: p.ID, Expires: p.Expires})
		}
	}
	slices.SortStableFunc(out.Proxies, func(a, b console.Proxy) int { return a.Seen.Compare(b.Seen) })
	return out
}
