// Package policy answers one question: may this principal do this? It compiles the grants of routes and the
// Cedar files of a snapshot into an indexed, immutable Set that decides, gives its reasons and explains what
// would change a decision. It does not find out who asks (see proxy/filter) and it never talks to anyone.
package policy

import (
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/cedar-policy/cedar-go"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
)

// The codes of reasons that a Decision carries.
const (
	CodePermit       = "permit"          // this policy permits
	CodeForbid       = "forbid"          // this policy forbids, whatever permits
	CodeNoPermit     = "no-permit"       // nothing permits
	CodePolicyError  = "policy-error"    // this policy could not be evaluated, which denies
	CodeUndeclared   = "undeclared-call" // the route is not declared for this caller, whatever policies say
	CodeUnknownRoute = "unknown-route"   // the set does not know the route or the method: no decision
)

// Query is one question: who wants to do what, and under which circumstances.
type Query struct {
	User       *User  // nil: nobody signed in
	Workload   string // SPIFFE ID of the calling service; "": none
	Method     string
	Route      string // route id
	Host       string
	Path       string
	Params     []Param    // values of the route's path template, decoded
	Client     netip.Addr // the client's address; a policy that reads an invalid one fails, which denies
	Time       time.Time  // when the request was received
	TLSVersion string     // "1.3"; "": no TLS
}

// Param is one named value of a path template.
type Param struct{ Name, Value string }

// User is the signed-in user as policies see it.
type User struct {
	Provider string
	Issuer   string
	Subject  string
	Roles    []string // declared roles with all that they include; what they include is added if missing
	Scopes   []string
	Claims   map[string]any // declared claims only: string, int64, bool or []string; others are not seen
	ClientID string
	ACR      string
	AMR      []string
	AuthTime time.Time // zero: not told
}

// Decision is the answer to a Query. The zero value denies.
type Decision struct {
	Allow bool
	// Reasons hold every permit if allowed, else one undeclared-call, or every policy error, then every forbid, or
	// one no-permit.
	// They are shared between decisions: do not change them.
	Reasons   []event.Reason
	Errors    bool // at least one policy could not be evaluated; this denies
	Undecided bool // the set does not know the route or the method
}

// Set is the compiled policies of one snapshot. It is immutable and safe for concurrent use.
type Set struct {
	schema   string
	rules    []*rule // in the order of routes, then files
	byID     map[string]*rule
	routes   map[string]*routeCells
	roles    map[string][]cedar.EntityUID // role and all that it includes
	claims   map[string]string            // declared claims by type
	entities cedar.EntityMap              // everything but users
	common   []*rule                      // that hold on every route
	meshed   bool                         // services can be principals, and context.user exists
}

// Policies returns the ids of all policies, in the order in which they were declared.
func (s *Set) Policies() []string {
	ids := make([]string, len(s.rules))
	for i, r := range s.rules {
		ids[i] = r.id
	}
	return ids
}

// Source returns the text of a policy and where it stands (file:line:col). A grant is printed as the Cedar
// policy that it is short for; its position is that of the grant.
func (s *Set) Source(id string) (text, position string, ok bool) {
	r, ok := s.byID[id]
	if !ok {
		return "", "", false
	}
	return r.text, r.position, true
}

// Schema returns the Cedar schema that every policy of the set was validated against, as Cedar text.
func (s *Set) Schema() string { return s.schema }

// Compile turns a snapshot's grants and policy files into a Set. It returns all findings at once, sorted by
// position; with one of severity error among them the Set is nil. Warnings leave a usable Set.
func Compile(snap *model.Snapshot) (*Set, []model.Finding) {
	c := newCompiler(snap)
	c.grants()
	c.files()
	c.check()
	slices.SortStableFunc(c.findings, compareFindings)
	if slices.ContainsFunc(c.findings, func(f model.Finding) bool { return f.Severity == model.Error }) {
		return nil, c.findings
	}
	return c.set(), c.findings
}

// place writes a position as file:line:col.
func place(p model.Position) string {
	if p.Line == 0 {
		return p.File
	}
	out := p.File + ":" + strconv.Itoa(p.Line)
	if p.Column > 0 {
		out += ":" + strconv.Itoa(p.Column)
	}
	return out
}
