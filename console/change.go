package console

import (
	"context"
	"slices"
	"time"

	"github.com/palisade-security/palisade/model/plan"
)

// Planner says what another model would do. Its methods are safe for concurrent use. An error that a person can mend is a Refusal.
type Planner interface {
	// Past are the models that were in force, the newest first; none where nobody keeps them.
	Past(ctx context.Context) ([]Past, error)
	// Draft reads a model and says what it would change. It takes as long as deciding again what was used.
	Draft(ctx context.Context, by Person, p *Proposal) (*Draft, error)
}

// Applier puts models in force. A Planner that is one lets administrators do so here.
type Applier interface {
	// Apply tries a draft on some proxies, puts it in force or takes it back, and returns when that is done. It makes an event of
	// what it did.
	Apply(ctx context.Context, by Person, d *Draft, how How) (*Applied, error)
}

// Refusal is an error that is told as it is.
type Refusal struct{ Text string }

func (r *Refusal) Error() string { return r.Text }

// Person is who asks for something.
type Person struct {
	Name string
	Role Role
}

// Past is a model that is or was in force.
type Past struct {
	Number  int64
	Version string
	Since   time.Time
	Author  string
	Note    string
}

// Proposal is a model that somebody wants: one of its fields says which.
type Proposal struct {
	Document []byte // a compiled one, as "palisade snapshot" prints it
	Version  string // one of the past
	Files    bool   // what stands in the files that the process was started with
}

// Draft is a proposal that was read.
type Draft struct {
	Plan     plan.Plan
	Same     bool   // it says what is in force
	Used     *Used  // what it would do to what was used; nil: nobody knows, because of Unused
	Unused   string // why, in words
	Document []byte // what to apply
	Version  string // in place of that, one of the past
}

// Denies tells whether somebody must say that it may deny what was used: it would, or nobody can tell.
func (d *Draft) Denies() bool { return d.Used == nil || d.Used.Denied > 0 }

// Used is what a model decides about what was asked under another.
type Used struct {
	Since   time.Time
	Records int
	Denied  int // newly
	Allowed int // newly
	Unknown int // could not be decided again
	Kinds   []UsedKind
	More    int // decisions that changed and are in no kind
}

// UsedKind is decisions of one kind that change alike.
type UsedKind struct {
	Denied  bool // else allowed
	Count   int
	What    string
	Who     string
	Now     string
	Was     string
	Samples []string // ids of events
}

// How says how a draft is applied.
type How struct {
	Watch time.Duration // how long errors are watched on the first proxies
	Note  string
}

// Applied is what came of a draft.
type Applied struct {
	Outcome string // applied, rolled-back, unchanged
	Version string // in force now
	Reason  string
	Trials  []Trial
}

// Trial is what one proxy went through with a model before all others.
type Trial struct {
	Name, Instance string
	Before, After  Rates
	Verdict        string
	Failed         bool
}

// Rates are counts of a time.
type Rates struct {
	Requests, Errors, Refused uint64
	Over                      time.Duration
}

// Rollout is a model that is being tried on some proxies.
type Rollout struct {
	Version string
	Author  string
	Since   time.Time
	Trials  []string // instances
}

// Tries tells whether a proxy tries it.
func (r *Rollout) Tries(instance string) bool {
	return slices.Contains(r.Trials, instance)
}
