package control

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/control/wire"
	"github.com/palisade-security/palisade/identity/attest"
	"github.com/palisade-security/palisade/identity/peer"
	"github.com/palisade-security/palisade/identity/revocation"
	"github.com/palisade-security/palisade/identity/workload"
	"github.com/palisade-security/palisade/internal/local"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/model/plan"
	"github.com/palisade-security/palisade/store/table"
)

// How a control that leads is told by another on whose behalf it asks. Believed from control alone.
const (
	onBehalf = "Palisade-Administrator"
	withRole = "Palisade-Role"
)

// errNobodyLeads tells that no control leads right now.
var errNobodyLeads = errors.New("no control leads right now; try again in a few seconds")

// verb is one thing an administrator may ask for.
type verb struct {
	pattern string
	role    admin.Role
	word    string // of the act that is written down; empty: looking is none
	leader  bool   // the control that leads does it
	do      func(ctx context.Context, who caller, r *http.Request, body []byte) (out any, object string, err error)
}

func (c *Control) verbs() []verb {
	return []verb{
		{"GET " + admin.StatusPath, admin.Viewer, "", false, c.showStatus},
		{"GET " + admin.ModelPath, admin.Viewer, "", false, c.showModel},
		{"GET " + admin.HistoryPath, admin.Viewer, "", false, c.showHistory},
		{"GET " + admin.ActsPath, admin.Viewer, "", false, c.showActs},
		{"GET " + admin.EventsPath, admin.Viewer, "", false, c.findEvents},
		{"GET " + admin.CountsPath, admin.Viewer, "", false, c.countEvents},
		{"GET " + admin.MapPath, admin.Viewer, "", false, c.showMap},
		{"GET " + admin.HoldsPath, admin.Viewer, "", false, c.showHolds},
		{"POST " + admin.HoldsPath, admin.Admin, "hold", false, c.doHold},
		{"POST " + admin.ReleasePath, admin.Admin, "release", false, c.doRelease},
		{"POST " + admin.ErasePlanPath, admin.Admin, "", false, c.planErase},
		{"POST " + admin.ErasePath, admin.Admin, "erase", false, c.doErase},
		{"POST " + admin.PlanPath, admin.Viewer, "", false, c.showPlan},
		{"POST " + admin.ApplyPath, admin.Operator, "apply", true, c.doApply},
		{"POST " + admin.RevokePath, admin.Operator, "revoke", true, c.doRevoke},
		{"POST " + admin.RestorePath, admin.Operator, "restore", true, c.doRestore},
		{"POST " + admin.TokenPath, admin.Admin, "token", false, c.doToken},
		{"POST " + admin.ConsolePath, admin.Admin, "console", false, c.doConsole},
	}
}

// administrators mounts what administrators ask. Who they are says whoever knows the way they came.
func (c *Control) administrators(mux *http.ServeMux, authenticate func(*http.Request) (caller, error)) {
	for _, v := range c.verbs() {
		mux.HandleFunc(v.pattern, func(w http.ResponseWriter, r *http.Request) {
			who, err := authenticate(r)
			if err == nil && !who.role.Permits(v.role) {
				err = fmt.Errorf("%w: %s needs the role %s", errDenied, v.word, v.role)
			}
			if err != nil {
				if errors.Is(err, errUnknown) { // anybody can come and be nobody: that fills no table
					c.stranger(r.Context(), Event{Kind: r.Method + " " + r.URL.Path, Who: who.name, Outcome: outcomeDenied, Text: err.Error()})
				} else if _, ok := c.denials.may(time.Now()); ok {
					c.act(r.Context(), who, r.Method+" "+r.URL.Path, "", err, nil)
				}
				c.answer(r.Context(), w, nil, err)
				return
			}
			body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxModel))
			if err != nil {
				c.answer(r.Context(), w, nil, fmt.Errorf("%w: the body cannot be read: %w", errWrong, err))
				return
			}
			if v.leader && c.leading.Load() == nil {
				c.forward(w, r, who, body)
				return
			}
			// What is begun is brought to its end, also if the administrator leaves.
			out, object, err := v.do(context.WithoutCancel(r.Context()), who, r, body)
			if v.word != "" {
				c.act(r.Context(), who, v.word, object, err, out)
			}
			c.answer(r.Context(), w, out, err)
		})
	}
}

// byToken takes an access token, or the word of another control.
func (c *Control) byToken(r *http.Request) (caller, error) {
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		if p, err := c.verifier.Verify(r.TLS.PeerCertificates, peer.AsClient, time.Now()); err == nil && p.ID == c.self && r.Header.Get(onBehalf) != "" {
			return caller{r.Header.Get(onBehalf), admin.Role(r.Header.Get(withRole))}, nil
		}
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || c.o.Authenticate == nil {
		return caller{name: r.RemoteAddr}, fmt.Errorf("%w: an access token must be shown", errUnknown)
	}
	u, err := c.o.Authenticate(r.Context(), token)
	if err != nil {
		return caller{name: r.RemoteAddr}, fmt.Errorf("%w: the access token is not valid", errUnknown)
	}
	who := caller{name: u.Name}
	for _, role := range u.Roles {
		if ours := c.o.Roles[role]; ours.Permits(admin.Viewer) && (who.role == "" || ours.Permits(who.role)) {
			who.role = ours
		}
	}
	return who, nil
}

// bySocket takes root and the user that runs control as administrators with every right.
func bySocket(r *http.Request) (caller, error) {
	name, err := local.Caller(r.Context())
	if err != nil {
		return caller{name: name}, fmt.Errorf("%w: %w", errDenied, err)
	}
	return caller{name: name, role: admin.Admin}, nil
}

// As answers somebody who was recognised elsewhere, such as in the console, as the interface over HTTPS answers whoever shows a
// token: with the same refusals, and written down under that name.
func (c *Control) As(name string, role admin.Role) http.Handler {
	mux := http.NewServeMux()
	c.administrators(mux, func(*http.Request) (caller, error) { return caller{name, role}, nil })
	return mux
}

// forward has the control that leads do it.
func (c *Control) forward(w http.ResponseWriter, r *http.Request, who caller, body []byte) {
	out, err := func() (any, error) {
		if r.Header.Get(onBehalf) != "" {
			return nil, errNobodyLeads // two that take each other for the leader must not play ball
		}
		at, err := c.leaderAt(r.Context())
		if err != nil || at == "" {
			return nil, errNobodyLeads
		}
		q, err := http.NewRequestWithContext(r.Context(), r.Method, "https://"+at+r.URL.Path, bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		q.Header.Set(onBehalf, who.name)
		q.Header.Set(withRole, string(who.role))
		transport := &http.Transport{TLSClientConfig: peer.ClientConfig(c.own.certificate, c.verifier, peer.OneOf(c.self))}
		defer transport.CloseIdleConnections()
		answer, err := transport.RoundTrip(q)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errNobodyLeads, err)
		}
		defer func() { _ = answer.Body.Close() }()
		data, err := io.ReadAll(io.LimitReader(answer.Body, maxModel))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errNobodyLeads, err)
		}
		if answer.StatusCode != http.StatusOK {
			p := new(admin.Problem)
			if json.Unmarshal(data, p) != nil || p.Status == 0 {
				p = &admin.Problem{Type: "about:blank", Status: http.StatusBadGateway, Title: http.StatusText(http.StatusBadGateway)}
			}
			return nil, p
		}
		return json.RawMessage(data), nil
	}()
	c.answer(r.Context(), w, out, err)
}

func parse[T any](body []byte) (out T, err error) {
	if err := json.Unmarshal(body, &out); err != nil {
		return out, fmt.Errorf("%w: the body cannot be read: %w", errWrong, err)
	}
	return out, nil
}

func (c *Control) showStatus(ctx context.Context, _ caller, _ *http.Request, _ []byte) (any, string, error) {
	out := c.Status()
	err := c.showBusServers(ctx, &out)
	return out, "", err
}

// Status says how the fleet stands, as far as this control knows.
func (c *Control) Status() admin.Status {
	now := time.Now()
	out := admin.Status{TrustDomain: c.o.Domain, Time: now, Control: c.o.Name, Proxies: []admin.Proxy{}}
	a, revoked := c.authority.Status(), c.authority.Revoked()
	out.Authority = admin.Authority{Sequence: a.Sequence, Ends: a.Ends, RootEnds: a.RootEnds, List: revoked.Sequence()}
	if c.o.Issuer != nil {
		out.Authority = admin.Authority{Issuer: admin.IssuerElsewhere, List: revoked.Sequence()}
	}
	for _, e := range revoked.Entries() {
		if e.Before.IsZero() { // not restored
			q := admin.RevokeRequest{Kind: string(e.Kind), Value: strings.TrimPrefix(e.Value, c.domain.IDString()+"/")}
			out.Authority.Revoked = append(out.Authority.Revoked, q.String())
		}
	}
	trial := map[string]bool{}
	if l := c.leading.Load(); l != nil {
		out.Leads, out.Rollout = true, l.rollout.Load()
		if out.Rollout != nil {
			for _, instance := range out.Rollout.Trials {
				trial[instance] = true
			}
		}
	}
	f := c.fleet.Load()
	if f != nil {
		out.Fleet, out.InForce = f.snap.Fleet, modelOf(f.Enforcement)
	}
	for _, e := range c.desk.entries() {
		r := &e.Report
		if r.Leaving {
			continue
		}
		want := ""
		if f != nil {
			want = f.version(e.ID)
		}
		p := admin.Proxy{
			ID: e.ID, Instance: r.Instance, Node: r.Node, Version: r.Version, Current: r.Version == want || trial[r.Instance],
			Lag: model.Duration(e.Lag), Begins: r.Begins, Expires: r.Expires, Failures: r.Failures, Stale: r.Stale, Seen: e.Seen, Away: e.away(now),
			Denied: r.Denied, Connections: r.Connections, Requests: r.Traffic.Requests, Errors: r.Traffic.Errors, Addresses: r.Addresses,
		}
		if !r.Accepted {
			p.Rejected = r.Reason
		}
		p.Problem = denied(revoked, e.ID, r, c.o.Issuer != nil)
		out.Proxies = append(out.Proxies, p)
	}
	slices.SortFunc(out.Proxies, func(a, b admin.Proxy) int {
		return cmp.Or(strings.Compare(a.ID, b.ID), strings.Compare(a.Instance, b.Instance))
	})
	return out
}

// denied says that a proxy is refused by all others, and what it waits for.
func denied(list *revocation.List, name string, r *wire.Report, elsewhere bool) string {
	id, err := workload.ParseID(name)
	if err != nil {
		return ""
	}
	entry, refused := list.Refuses(revocation.Subject{ID: id, Node: r.Node, Serial: r.Serial, Begins: r.Begins})
	switch {
	case !refused:
		return ""
	case entry.Before.IsZero():
		return "revoked since " + entry.Since.UTC().Format(time.RFC3339)
	case elsewhere:
		return "restored, but shows an SVID from before: the issuer has not renewed it yet"
	}
	return "restored, but has not proven anew what it is: palisade join " + id.Path()[1:]
}

func (c *Control) showModel(ctx context.Context, _ caller, r *http.Request, _ []byte) (any, string, error) {
	version := r.URL.Query().Get("version")
	if f := c.fleet.Load(); version == "" && f != nil {
		version = f.Version
	}
	m, err := c.stored(ctx, version)
	return json.RawMessage(m.Document), version, err
}

const pageSize = 100

func (c *Control) showHistory(ctx context.Context, _ caller, _ *http.Request, _ []byte) (any, string, error) {
	out := []admin.Model{}
	err := c.o.Store.Read(ctx, func(t *table.Tx) error {
		all, err := t.Enforcements(ctx, 0, pageSize)
		for _, e := range all {
			out = append(out, modelOf(e))
		}
		return err
	})
	return out, "", err
}

func (c *Control) showActs(ctx context.Context, _ caller, r *http.Request, _ []byte) (any, string, error) {
	after, err := strconv.ParseInt("0"+r.URL.Query().Get("after"), 10, 64)
	if err != nil {
		return nil, "", fmt.Errorf("%w: after is no number", errWrong)
	}
	var rows []table.Act
	err = c.o.Store.Read(ctx, func(t *table.Tx) (err error) {
		rows, err = t.Acts(ctx, after, pageSize)
		return err
	})
	out := make([]admin.Act, 0, len(rows))
	for _, a := range rows {
		detail := string(a.Detail)
		if err := c.named(ctx, &a.Who, &a.Object, &detail); err != nil {
			return nil, "", err
		}
		a.Detail = []byte(detail)
		out = append(out, admin.Act{
			Number: a.Number, At: a.At, Who: a.Who, Role: admin.Role(a.Role), Verb: a.Verb, Object: a.Object, Outcome: a.Outcome, Detail: a.Detail,
		})
	}
	return out, "", err
}

func (c *Control) showPlan(_ context.Context, _ caller, _ *http.Request, body []byte) (any, string, error) {
	next, err := c.offered(body)
	if err == nil && next.Development {
		err = model.ErrDevelopment
	}
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", errWrong, err)
	}
	f := c.fleet.Load()
	if f == nil {
		return plan.Diff(nil, next), next.Version, nil
	}
	return plan.Diff(f.snap, next), next.Version, nil
}

func (c *Control) doApply(ctx context.Context, who caller, _ *http.Request, body []byte) (any, string, error) {
	q, err := parse[admin.ApplyRequest](body)
	if err != nil {
		return nil, "", err
	}
	l := c.leading.Load()
	if l == nil {
		return nil, q.Version, errNobodyLeads
	}
	out, err := l.apply(ctx, who, q)
	return out, out.Plan.After, err
}

func (c *Control) doRevoke(ctx context.Context, who caller, _ *http.Request, body []byte) (any, string, error) {
	return c.relist(ctx, body, func(l *leader, q admin.RevokeRequest) (admin.RevokeResult, error) { return l.revoke(ctx, who, q) })
}

func (c *Control) doRestore(ctx context.Context, _ caller, _ *http.Request, body []byte) (any, string, error) {
	return c.relist(ctx, body, func(l *leader, q admin.RevokeRequest) (admin.RevokeResult, error) { return l.restore(ctx, q) })
}

func (c *Control) relist(_ context.Context, body []byte, do func(*leader, admin.RevokeRequest) (admin.RevokeResult, error)) (any, string, error) {
	q, err := parse[admin.RevokeRequest](body)
	if err != nil {
		return nil, "", err
	}
	object := q.String()
	l := c.leading.Load()
	if l == nil {
		return nil, object, errNobodyLeads
	}
	out, err := do(l, q)
	return out, object, err
}

// doConsole makes a link to the console. What is written down of it is its role, not the link.
func (c *Control) doConsole(_ context.Context, who caller, _ *http.Request, body []byte) (any, string, error) {
	q, err := parse[admin.ConsoleRequest](body)
	if err != nil {
		return nil, "", err
	}
	if c.o.Console == nil {
		return nil, string(q.Role), &admin.Problem{Status: http.StatusNotFound, Title: "no console"}
	}
	out, err := c.o.Console(who.name, q.Role)
	return linkOnce{out}, string(q.Role), err
}

// linkOnce is written to the asker and nowhere else: see act.
type linkOnce struct{ admin.ConsoleResult }

// doToken makes a join token. What is written down of it is its name, not the token.
func (c *Control) doToken(ctx context.Context, _ caller, _ *http.Request, body []byte) (any, string, error) {
	q, err := parse[admin.TokenRequest](body)
	if err != nil {
		return nil, "", err
	}
	out, err := c.Token(ctx, q)
	return shownOnce{out}, q.Name, err
}

// shownOnce is written to the asker and nowhere else: see act.
type shownOnce struct{ admin.TokenResult }

const defaultTokenTTL = time.Hour

// Token makes a join token for one proxy of this host or another. It ends with the fingerprint of our root, so that its
// bearer knows us.
func (c *Control) Token(ctx context.Context, q admin.TokenRequest) (admin.TokenResult, error) {
	if c.o.Issuer != nil {
		return admin.TokenResult{}, errIssuedElsewhere
	}
	id, err := c.identity(q.Name)
	if err != nil {
		return admin.TokenResult{}, fmt.Errorf("%w: %w", errWrong, err)
	}
	ttl := q.TTL.Std()
	if ttl == 0 {
		ttl = defaultTokenTTL
	}
	if f := c.fleet.Load(); f == nil || !f.has(id) {
		return admin.TokenResult{}, fmt.Errorf("%w: the model in force has no %q; expected service/NAME of one of its services, or edge/%s", errWrong, q.Name, model.EdgeName)
	}
	if ttl < 0 || ttl > c.o.Join {
		return admin.TokenResult{}, fmt.Errorf("%w: a join token lives for at most %s", errWrong, c.o.Join)
	}
	token, err := attest.NewJoinToken(ctx, joins{store: c.o.Store}, q.Name, ttl)
	if err != nil {
		return admin.TokenResult{}, err
	}
	roots := c.bundle().X509Authorities()
	return admin.TokenResult{Token: admin.JoinToken(token, roots[len(roots)-1]), Expires: time.Now().Add(ttl)}, nil
}
