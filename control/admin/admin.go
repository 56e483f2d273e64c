// Package admin is what administrators say to control and hear from it: the types of its JSON interface, and a client
// for it over a Unix socket or HTTPS. It is not for proxies (control/wire).
package admin

import (
	"encoding/json"
	"time"

	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/model/plan"
)

// Role is what an administrator may do.
type Role string

// The roles; each may do what those before it may.
const (
	Viewer   Role = "viewer"   // look: status, plan, history
	Operator Role = "operator" // apply models, revoke and restore
	Admin    Role = "admin"    // let proxies join
)

// rank orders roles; unknown ones rank below all.
func (r Role) rank() int {
	switch r {
	case Viewer:
		return 1
	case Operator:
		return 2
	case Admin:
		return 3
	}
	return 0
}

// Permits tells whether a role may do what another may.
func (r Role) Permits(needed Role) bool { return r.rank() > 0 && r.rank() >= needed.rank() }

// Status is how the fleet stands.
type Status struct {
	Fleet       string    `json:"fleet"`
	TrustDomain string    `json:"trust_domain"`
	Time        time.Time `json:"time"`
	Control     string    `json:"control"` // who answers
	Leads       bool      `json:"leads"`   // whether it leads
	InForce     Model     `json:"in_force,omitzero"`
	Rollout     *Rollout  `json:"rollout,omitempty"` // one that is under way
	Authority   Authority `json:"authority,omitzero"`
	Proxies     []Proxy   `json:"proxies"` // sorted by identity and instance

	BusServers []BusServer `json:"bus_servers,omitempty"` // of an external bus; sorted by name
}

// BusServer is a server of an external bus, whose certificate whoever runs it must have made again ("palisade bus-server").
type BusServer struct {
	Name    string    `json:"name"`    // bus/NAME
	Expires time.Time `json:"expires"` // of the last certificate that was made
}

// busServerLate is what is left of the 24 hours of a certificate when it counts as late.
const busServerLate = 8 * time.Hour

// Ending tells whether another certificate should long have been made.
func (b *BusServer) Ending(now time.Time) bool { return b.Expires.Sub(now) < busServerLate }

// Model is a model that is or was in force.
type Model struct {
	Number  int64     `json:"number"`
	Version string    `json:"version"`
	Since   time.Time `json:"since"`
	Author  string    `json:"author"`
	Note    string    `json:"note,omitempty"`
}

// Rollout is a model that is tried on some proxies.
type Rollout struct {
	Version string    `json:"version"`
	Author  string    `json:"author"`
	Since   time.Time `json:"since"`
	Trials  []string  `json:"trials"` // instances
}

// Authority says until when identities can be issued.
type Authority struct {
	Issuer   string    `json:"issuer,omitempty"` // IssuerElsewhere; empty: control itself
	Sequence uint64    `json:"sequence"`         // of the trust bundle
	Ends     time.Time `json:"ends,omitzero"`    // of the last intermediate
	RootEnds time.Time `json:"root_ends,omitzero"`
	Revoked  []string  `json:"revoked,omitempty"` // service/payments, node/host-1
	List     uint64    `json:"list"`              // sequence number of the revocation list
}

// IssuerElsewhere says that a Workload API on each host issues identities.
const IssuerElsewhere = "workload-api"

// Proxy is one process of a proxy.
type Proxy struct {
	ID          string         `json:"id"` // SPIFFE ID
	Instance    string         `json:"instance"`
	Node        string         `json:"node,omitempty"`
	Version     string         `json:"version"`            // of the slice in force
	Current     bool           `json:"current"`            // it is what control wants
	Rejected    string         `json:"rejected,omitempty"` // why it did not take the newest
	Problem     string         `json:"problem,omitempty"`  // why it has no SVID that others take, as far as is known
	Lag         model.Duration `json:"lag,omitzero"`       // from the push of what is in force to its confirmation; zero if it began with it
	Begins      time.Time      `json:"begins,omitzero"`    // of its SVID
	Expires     time.Time      `json:"expires,omitzero"`   // of its SVID
	Failures    int            `json:"failures,omitempty"` // renewals in a row that failed
	Stale       string         `json:"stale,omitempty"`    // stop or serve: its SVID has expired
	Seen        time.Time      `json:"seen"`               // last report, by control's clock
	Away        bool           `json:"away,omitempty"`     // not heard of for longer than a few reports
	Denied      uint64         `json:"denied"`             // revocation list in force
	Connections int            `json:"connections"`        // that others have to it
	Requests    uint64         `json:"requests"`           // since its start
	Errors      uint64         `json:"errors"`
	Addresses   []string       `json:"addresses,omitempty"` // where it takes mTLS calls
}

// ApplyRequest asks for a model to be put in force.
type ApplyRequest struct {
	Model   json.RawMessage `json:"model,omitempty"`   // a compiled model.Snapshot, or
	Version string          `json:"version,omitempty"` // one of the history
	Before  string          `json:"before"`            // version that the plan was shown against; another in force is a conflict
	Watch   model.Duration  `json:"watch,omitzero"`    // how long errors are watched on the first proxies; default 30s
	Note    string          `json:"note,omitempty"`

	// Without are proxies, service/NAME or edge/edge, whose word does not count: the model is not tried on them, and comes into
	// force whether they take it or not.
	Without []string `json:"without,omitempty"`
}

// Outcome is what came of an ApplyRequest.
type Outcome string

// The outcomes.
const (
	Applied    Outcome = "applied"
	RolledBack Outcome = "rolled-back" // what was in force before is in force again
	Unchanged  Outcome = "unchanged"   // it is in force already
)

// ApplyResult is what came of it, and why.
type ApplyResult struct {
	Outcome Outcome   `json:"outcome"`
	Model   Model     `json:"model,omitzero"`    // in force now
	Without []string  `json:"without,omitempty"` // whose word did not count, as asked
	Reason  string    `json:"reason,omitempty"`
	Trials  []Trial   `json:"trials,omitempty"`
	Plan    plan.Plan `json:"plan"`
}

// Trial is what one proxy went through with a new model before all others.
type Trial struct {
	ID       string `json:"id"`
	Instance string `json:"instance"`
	Before   Rates  `json:"before"`
	After    Rates  `json:"after"`
	Verdict  string `json:"verdict"` // in words
	Failed   bool   `json:"failed"`
}

// Rates are counts over a time.
type Rates struct {
	Requests uint64         `json:"requests"`
	Errors   uint64         `json:"errors"`
	Refused  uint64         `json:"refused"`
	Over     model.Duration `json:"over"`
}

// RevokeRequest names what is refused from now on, or no longer.
type RevokeRequest struct {
	Kind   string `json:"kind"`  // service, serial, node
	Value  string `json:"value"` // service/payments, 1f:0a:..., host
	Reason string `json:"reason,omitempty"`
}

// RevokeResult says how far a revocation has come.
type RevokeResult struct {
	List      uint64         `json:"list"`               // sequence number of the revocation list
	Took      model.Duration `json:"took"`               // from the command until the last of the confirmed had cut, by control's clock
	Confirmed int            `json:"confirmed"`          // proxies that enforce it
	Missing   []string       `json:"missing,omitempty"`  // instances that were there a moment ago and have not confirmed it
	Cut       uint64         `json:"cut"`                // connections between services
	Bus       int            `json:"bus"`                // connections to the bus
	Volatile  bool           `json:"volatile,omitempty"` // in force, but the store did not take it yet
	Reason    string         `json:"reason,omitempty"`   // as it was asked
	Own       bool           `json:"own,omitempty"`      // identities are those of one process: what is restored has a new one by itself
}

// TokenRequest asks for a join token.
type TokenRequest struct {
	Name string         `json:"name"`         // what its bearer becomes: service/orders, edge/edge
	TTL  model.Duration `json:"ttl,omitzero"` // default 1h, at most 24h
}

// TokenResult is a join token; it is shown once.
type TokenResult struct {
	Token   string    `json:"token"` // ends with the fingerprint of control's root
	Expires time.Time `json:"expires"`
}

// ConsoleRequest asks for a link that signs a browser in.
type ConsoleRequest struct {
	Role Role `json:"role"`
}

// ConsoleResult is such a link; it works once.
type ConsoleResult struct {
	URL     string    `json:"url"` // the secret stands behind #
	Expires time.Time `json:"expires"`
}

// Act is what an administrator did or tried.
type Act struct {
	Number  int64           `json:"number"`
	At      time.Time       `json:"at"`
	Who     string          `json:"who"`
	Role    Role            `json:"role"`
	Verb    string          `json:"verb"`
	Object  string          `json:"object"`
	Outcome string          `json:"outcome"` // done, denied, failed
	Detail  json.RawMessage `json:"detail,omitempty"`
}

// Ending tells whether less than a third of an SVID's life is left, which is when it should long have been renewed.
func (p *Proxy) Ending(now time.Time) bool {
	life, left := p.Expires.Sub(p.Begins), p.Expires.Sub(now)
	return !p.Expires.IsZero() && (left <= 0 || !p.Begins.IsZero() && left < life/3)
}

// Problem is how control says no (RFC 9457).
type Problem struct { //nolint:errname // the name is the standard's
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`

	After time.Duration `json:"-"` // header Retry-After: before that, asking again is in vain; 0: it is not known
}

// RetryAfter is After, for who asks again by itself (identity/workload).
func (p *Problem) RetryAfter() time.Duration { return p.After }

func (p *Problem) Error() string {
	if p.Detail == "" {
		return p.Title
	}
	return p.Title + ": " + p.Detail
}

const bundlePath = "/v1/bundle" // as in control/wire

// Paths of the interface.
const (
	StatusPath  = "/v1/admin/status"  // GET: Status
	ModelPath   = "/v1/admin/model"   // GET: the model.Snapshot in force, or ?version=
	HistoryPath = "/v1/admin/history" // GET: []Model, newest first
	ActsPath    = "/v1/admin/acts"    // GET ?after=: []Act
	PlanPath    = "/v1/admin/plan"    // POST a model.Snapshot: plan.Plan
	ApplyPath   = "/v1/admin/apply"   // POST ApplyRequest: ApplyResult
	RevokePath  = "/v1/admin/revoke"  // POST RevokeRequest: RevokeResult
	RestorePath = "/v1/admin/restore" // POST RevokeRequest: RevokeResult
	TokenPath   = "/v1/admin/token"   // POST TokenRequest: TokenResult
	ConsolePath = "/v1/admin/console" // POST ConsoleRequest: ConsoleResult
)
