// Package gate compiles a snapshot into what the engine runs on: every route with its filters in the order
// of the pipeline, every service with its connections. Each room compiles its own part; this one joins them.
package gate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/policy"
	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/canon"
	"github.com/palisade-security/palisade/proxy/engine"
	"github.com/palisade-security/palisade/proxy/filter/authz"
	"github.com/palisade-security/palisade/proxy/filter/exchange"
	"github.com/palisade-security/palisade/proxy/filter/limit"
	"github.com/palisade-security/palisade/proxy/filter/openapi"
	"github.com/palisade-security/palisade/proxy/filter/waf"
	"github.com/palisade-security/palisade/proxy/route"
	"github.com/palisade-security/palisade/proxy/upstream"
)

// Authenticator finds out who asks on a route. Two values can stand in: tokens, or a given user ("try").
type Authenticator interface {
	ForRoute(r model.ResolvedRoute) proxy.Filter
}

// Gate is one compiled snapshot.
type Gate struct {
	Snapshot *model.Snapshot
	Table    *engine.Table
	Policies *policy.Set
}

// Builder compiles snapshots one after the other and keeps what outlives them: the state of limits,
// compiled rule sets, connections to services that did not change. It is not safe for concurrent use.
type Builder struct {
	side     engine.Side
	reach    func(s *model.ResolvedService) Reach
	exchange *exchange.Exchange // nil: tokens from outside travel on
	stage    func(name string, f proxy.Filter) proxy.Filter
	limits   *limit.Store
	waf      *waf.Compiler
	services map[string]*engine.Service // by everything that makes them what they are
	next     map[string]*engine.Service // of the build under way
	shapes   bool                       // of the build under way: audit.shapes
}

// limitKeys is how many keys the limits of a gateway hold at most.
const limitKeys = 1 << 20

// Option changes what a Builder does beyond what snapshots say.
type Option func(*options)

type options struct {
	waf      waf.Options
	side     engine.Side
	reach    func(s *model.ResolvedService) Reach
	exchange *exchange.Exchange
	stage    func(name string, f proxy.Filter) proxy.Filter
}

// WithWAF hands options to the compiler of inspections.
func WithWAF(o waf.Options) Option { return func(all *options) { all.waf = o } }

// NewBuilder reads the linked-in rule set; it compiles nothing yet.
func NewBuilder(with ...Option) (*Builder, error) {
	var o options
	for _, f := range with {
		f(&o)
	}
	w, err := waf.NewCompiler(o.waf)
	if err != nil {
		return nil, err
	}
	return &Builder{side: o.side, reach: o.reach, exchange: o.exchange, stage: o.stage, limits: limit.NewStore(limitKeys), waf: w, services: map[string]*engine.Service{}}, nil
}

// ErrFindings is returned when the user's files hold mistakes; they are the findings beside it.
var ErrFindings = errors.New("the model has errors")

// Build compiles snap. Nothing changes for requests until the table is swapped in. Findings come back with
// any result; an error of ErrFindings means that some of them are errors.
func (b *Builder) Build(ctx context.Context, snap *model.Snapshot, auth Authenticator) (*Gate, []model.Finding, error) {
	b.next = map[string]*engine.Service{}
	b.shapes = snap.Audit.Shapes == model.DefaultShapes
	decided := snap
	if b.side == engine.Outbound {
		snap = outbound(snap)
		others := *snap
		others.Routes, decided = nil, &others // they are what services serve, and stand there already
	}
	policies, findings := policy.Compile(decided)
	documents, more := b.documents(snap)
	findings = append(findings, more...)
	for i := range snap.Routes {
		for _, f := range b.waf.Check(snap.Routes[i].WAF) {
			f.Position = snap.Routes[i].Position
			findings = append(findings, f)
		}
	}
	findings = append(findings, listeners(snap)...)
	if model.HasErrors(findings) {
		return nil, findings, ErrFindings
	}
	entries, err := b.routes(snap, auth, policies, documents)
	if err != nil {
		return nil, findings, err
	}
	matcher, err := route.Build(entries)
	if err != nil {
		return nil, findings, fmt.Errorf("compiling routes: %w", err)
	}
	if err := b.selfTest(ctx, snap); err != nil {
		return nil, findings, err
	}
	return &Gate{Snapshot: snap, Policies: policies, Table: b.table(snap, matcher, policies.ClaimsRead())}, findings, nil
}

// selfTest proves that inspection works, if any route asks for it.
func (b *Builder) selfTest(ctx context.Context, snap *model.Snapshot) error {
	if b.stage != nil || !slices.ContainsFunc(snap.Routes, func(r model.ResolvedRoute) bool { return r.WAF.Mode != "off" }) {
		return nil
	}
	if err := b.waf.SelfTest(ctx); err != nil {
		return fmt.Errorf("testing the WAF's rule set: %w", err)
	}
	return nil
}

// Applied ends a build whose table serves now: what only older snapshots used is given up. Services that are
// gone are not closed: a request in flight may be about to use one for the first time. Their idle connections
// close by themselves.
func (b *Builder) Applied() {
	b.services = b.next
	b.waf.Sweep()
}

// CloseIdle closes the connections to all services that carry no request, and keeps none from now on: before the
// services end, some of which wait for their connections to.
func (b *Builder) CloseIdle() {
	for _, s := range b.services {
		s.Close()
	}
}

func (b *Builder) table(snap *model.Snapshot, m *route.Matcher[*engine.Route], claims []string) *engine.Table {
	e := &snap.Edge
	t := &engine.Table{
		Version: snap.Version, Fleet: snap.Fleet, Matcher: m,
		Limits:   canon.Limits{Target: int(e.Sizes.Target), Headers: e.Sizes.Headers, HeaderBytes: int(e.Sizes.Header)},
		Redactor: event.NewRedactor(snap.Redact), Claims: claims,
		Pause: e.Timeouts.Body.Std(), Body: e.Timeouts.Body.Std(), Write: e.Timeouts.Write.Std(), Tunnel: e.Timeouts.Tunnel.Std(),
		Requests: e.Concurrency.Requests, Strict: snap.Audit.Mode == "strict", Dev: e.Dev,
		HSTS: map[string]string{}, Side: b.side,
	}
	for _, p := range e.TrustedProxies {
		t.Trusted = append(t.Trusted, p.Prefix)
	}
	if b.side == engine.Inbound {
		t.Forwarder = model.EdgeID(snap.TrustDomain)
	}
	for _, r := range snap.Routes {
		t.Hosts = append(t.Hosts, r.Host)
	}
	slices.Sort(t.Hosts)
	t.Hosts = slices.Compact(t.Hosts)
	for name, l := range e.Listeners {
		t.HSTS[name] = hsts(l)
	}
	return t
}

// hsts is the header's value, empty where it would lock a laptop's browser out of localhost.
func hsts(l model.Listener) string {
	if l.HSTS.Off || l.TLS.Local {
		return ""
	}
	v := "max-age=" + strconv.Itoa(int(l.HSTS.MaxAge.Std()/time.Second))
	if l.HSTS.IncludeSubdomains {
		v += "; includeSubDomains"
	}
	if l.HSTS.Preload {
		v += "; preload"
	}
	return v
}

// documents compiles the API document of every service that has one.
func (b *Builder) documents(snap *model.Snapshot) (map[string]*openapi.API, []model.Finding) {
	out := map[string]*openapi.API{}
	var findings []model.Finding
	for i := range snap.Services {
		if s := &snap.Services[i]; len(s.API) > 0 {
			api, f := openapi.Compile(*s)
			out[s.Name] = api
			findings = append(findings, f...)
		}
	}
	return out, findings
}

func (b *Builder) routes(snap *model.Snapshot, auth Authenticator, policies *policy.Set, documents map[string]*openapi.API) ([]route.Entry[*engine.Route], error) {
	services := map[string]model.ResolvedService{}
	for _, s := range snap.Services {
		services[s.Name] = s
	}
	entries := make([]route.Entry[*engine.Route], 0, len(snap.Routes))
	authorise := authz.New(policies, snap.Fleet)
	for _, r := range snap.Routes {
		tmpl, err := model.ParseTemplate(r.Path)
		if err != nil {
			return nil, fmt.Errorf("route %q: %w", r.ID, err)
		}
		svc, err := b.service(services[r.Service], snap)
		if err != nil {
			return nil, err
		}
		er := &engine.Route{
			Route:   proxy.Route{ID: r.ID, Service: r.Service, Host: r.Host, Template: r.Path},
			Service: svc, Body: int64(r.Body), Timeout: r.Timeout.Std(), Stream: r.Stream, Deprecated: r.Deprecated,
			WebSocket: slices.Contains(r.Upgrade, "websocket"), CORS: r.CORS,
		}
		if er.Steps, err = b.steps(r, services[r.Service], auth, authorise, documents[r.Service]); err != nil {
			return nil, err
		}
		entries = append(entries, route.Entry[*engine.Route]{Host: r.Host, Path: tmpl, Methods: r.Methods, Value: er, Name: r.ID})
	}
	return entries, nil
}

// steps is the pipeline of one route, in the order of the house.
func (b *Builder) steps(r model.ResolvedRoute, service model.ResolvedService, auth Authenticator, authorise *authz.Filter, api *openapi.API) ([]engine.Step, error) {
	byAddress, byPrincipal := limit.Compile(r.Limits, r.ID, r.Service, b.limits, nil)
	inspect, err := b.inspect(r, service)
	if err != nil {
		return nil, err
	}
	var validate proxy.Filter
	if api != nil && !r.Validate.Off {
		validate = api.Filter(r, b.shapes)
	}
	var steps []engine.Step
	add := func(stage, dry string, f proxy.Filter) {
		if f != nil {
			steps = append(steps, engine.Step{Stage: stage, Filter: b.instead(stage, f), DryRun: slices.Contains(r.DryRun, dry)})
		}
	}
	add(event.StageLimitAddress, "limit", byAddress)
	add(event.StageAuthenticate, "authenticate", auth.ForRoute(r))
	add(event.StageLimitPrincipal, "limit", byPrincipal)
	if b.side != engine.Edge && slices.Contains(r.DryRun, "authorise") {
		add(event.StageAuthorise, "", authorise.Callers()) // who may call at all is not up for trial
	}
	add(event.StageAuthorise, "authorise", authorise)
	add(event.StageInspect, "inspect", inspect)
	add(event.StageValidate, "validate", validate)
	add(event.StageExchange, "", b.exchanges(r))
	return steps, nil
}

// service returns the connections to s, those of the snapshot before if nothing about them changed.
func (b *Builder) service(s model.ResolvedService, snap *model.Snapshot) (*engine.Service, error) {
	streams := slices.ContainsFunc(snap.Routes, func(r model.ResolvedRoute) bool { return r.Service == s.Name && r.Stream })
	key := fmt.Sprintf("%s|%s|%+v|%x|%d|%v|%t", s.Name, s.Address, s.Upstream, s.CA, snap.Edge.Concurrency.PerService, snap.Edge.Timeouts, streams)
	if done, ok := b.next[key]; ok {
		return done, nil
	}
	if kept, ok := b.services[key]; ok {
		b.next[key] = kept
		return kept, nil
	}
	u, err := url.Parse(s.Address)
	if err != nil {
		return nil, fmt.Errorf("service %q: %w", s.Name, err)
	}
	address := u.Host
	switch {
	case u.Port() != "":
	case u.Scheme == "https":
		address += ":443"
	default:
		address += ":80"
	}
	o := upstream.Options{
		Address: address, MaxIdle: s.Upstream.Connections, MaxConns: snap.Edge.Concurrency.PerService,
		Dial: snap.Edge.Timeouts.Connect.Std(), Idle: snap.Edge.Timeouts.Idle.Std(), Header: s.Upstream.Timeout.Std(),
		Retries: s.Upstream.Retries, Pause: snap.Edge.Timeouts.Body.Std(),
	}
	if streams {
		o.Pause = -1 // events may be far apart; the client's side has its own bounds
	}
	t, err := b.transport(&s, u, o)
	if err != nil {
		return nil, err
	}
	svc := engine.NewService(s.Name, address, t, snap.Edge.Concurrency.PerService)
	b.next[key] = svc
	return svc, nil
}

func upstreamTLS(s model.ResolvedService, host string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: s.Upstream.ServerName}
	if c.ServerName == "" {
		c.ServerName = host
	}
	if len(s.CA) > 0 {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(s.CA) {
			return nil, fmt.Errorf("service %q: %s holds no certificate in PEM form", s.Name, s.Upstream.CA)
		}
	}
	return c, nil
}
