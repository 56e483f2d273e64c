package console

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model/plan"
)

// What acts about models are called. What was applied is an event of control's own.
const (
	actPlan  = "console-plan"
	actApply = "console-apply"
)

const (
	maxDocument = 32 << 20 // bytes of a form with a model as JSON
	sendTime    = time.Minute
	planTime    = 5 * time.Minute
	mostWatch   = time.Hour
	maxNote     = 200 // bytes
)

type modelPage struct {
	Version string
	Past    []Past
	May     bool // plan
	Applies bool // and apply
	Problem string
	State   State
}

// showModel shows the model in force, those before it, and takes another.
func (c *Console) showModel(w http.ResponseWriter, r *http.Request, s *session) error {
	return c.modelPage(w, r, s, http.StatusOK, "")
}

func (c *Console) modelPage(w http.ResponseWriter, r *http.Request, s *session, status int, problem string) error {
	snap, _ := c.o.Fleet.Model()
	o := modelPage{Version: snap.Version, Problem: problem, May: c.o.Planner != nil && s.role.Permits(Admin), Applies: c.applier != nil, State: c.o.Fleet.State(r.Context())}
	if c.o.Planner != nil {
		var err error
		if o.Past, err = c.o.Planner.Past(r.Context()); err != nil {
			return err
		}
	}
	c.show(w, r, s, status, "model", "Model", &o)
	return nil
}

// planModel reads a model and keeps it as a draft that is shown.
func (c *Console) planModel(w http.ResponseWriter, r *http.Request, s *session) error {
	if c.o.Planner == nil {
		return &pageError{http.StatusNotFound, "Nobody plans here."}
	}
	p, err := proposalOf(r)
	if err != nil {
		return c.modelPage(w, r, s, http.StatusBadRequest, err.Error())
	}
	leave, err := c.alone(r)
	if err != nil {
		return err
	}
	defer leave()
	if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(planTime)); err != nil {
		return err
	}
	by := Person{s.who, s.role}
	d, err := c.o.Planner.Draft(r.Context(), by, p)
	if refusal, ok := errors.AsType[*Refusal](err); ok {
		c.record(r, s.who, s.role, actPlan, event.Failed, refusal.Text, 0)
		return c.modelPage(w, r, s, http.StatusBadRequest, refusal.Text)
	}
	if err != nil {
		return err
	}
	c.record(r, s.who, s.role, actPlan, event.Done, "snapshot "+d.Plan.After, 0)
	http.Redirect(w, r, "/model/draft/"+c.drafts.keep(d, by, time.Now()), http.StatusSeeOther)
	return nil
}

// proposalOf reads which model a form means.
func proposalOf(r *http.Request) (*Proposal, error) {
	p := &Proposal{Version: strings.TrimSpace(r.PostFormValue("version")), Files: r.PostFormValue("from") == "files"}
	if p.Version != "" || p.Files {
		return p, nil
	}
	p.Document = []byte(strings.TrimSpace(r.PostFormValue("text")))
	if file, _, err := r.FormFile("file"); err == nil {
		defer func() { _ = file.Close() }()
		data, err := io.ReadAll(file)
		if err != nil {
			return nil, errors.New("The file could not be read.") //nolint:revive,staticcheck // a sentence on a page
		}
		if len(data) > 0 {
			p.Document = data
		}
	}
	if len(p.Document) == 0 {
		return nil, errors.New("No model was chosen: give a file, paste a text, or choose one of those before.") //nolint:revive,staticcheck // a sentence on a page
	}
	return p, nil
}

type draftPage struct {
	*draft
	Kinds   []planKind
	Applies bool
	Problem string
	Back    string // version to go back to; empty: none
	Fleet   State
}

type planKind struct {
	Kind    plan.Kind
	Words   string
	Changes []plan.Change
	More    int
}

const mostPlanned = 300 // changes of one kind on a page

// kindsOf sorts a plan by what its changes do.
func kindsOf(p *plan.Plan) []planKind {
	out := []planKind{{Kind: plan.Widens, Words: "permits more"}, {Kind: plan.MayWiden, Words: "may permit more"}, {Kind: plan.Narrows, Words: "permits less"}, {Kind: plan.Changes, Words: "changes neither"}}
	for i := range out {
		k := &out[i]
		for _, one := range p.Changes {
			switch {
			case one.Kind != k.Kind:
			case len(k.Changes) < mostPlanned:
				k.Changes = append(k.Changes, one)
			default:
				k.More++
			}
		}
	}
	return out
}

var errNoDraft = &pageError{http.StatusNotFound, "There is no such draft: it is older than an hour, somebody else's, or from before a restart. Choose the model again."}

// showDraft shows what a model would change, and what became of it.
func (c *Console) showDraft(w http.ResponseWriter, r *http.Request, s *session) error {
	return c.draftPage(w, r, s, http.StatusOK, "")
}

func (c *Console) draftPage(w http.ResponseWriter, r *http.Request, s *session, status int, problem string) error {
	now := time.Now()
	d := c.drafts.find(r.PathValue("id"), s.who, now)
	if d == nil {
		return errNoDraft
	}
	o := draftPage{draft: d, Kinds: kindsOf(&d.Plan), Applies: c.applier != nil, Problem: problem, Fleet: c.o.Fleet.State(r.Context())}
	if d.State == ended && d.Result != nil && d.Result.Outcome == outcomeApplied {
		o.Back = d.Plan.Before
	}
	c.show(w, r, s, status, "draft", "Plan", &o)
	return nil
}

const outcomeApplied = "applied" // as control says it

// applyModel puts a draft in force, if whoever asks knows what it denies.
func (c *Console) applyModel(w http.ResponseWriter, r *http.Request, s *session) error {
	now := time.Now()
	d := c.drafts.find(r.PathValue("id"), s.who, now)
	if d == nil {
		return errNoDraft
	}
	if c.applier == nil {
		return &pageError{http.StatusNotFound, "Nothing is applied here."}
	}
	refuse := func(status int, text string) error {
		c.record(r, s.who, s.role, actApply, event.Denied, "snapshot "+d.Plan.After+": "+text, 0)
		return c.draftPage(w, r, s, status, text)
	}
	how := How{Note: strings.TrimSpace(r.PostFormValue("note"))}
	var err error
	how.Watch, err = time.ParseDuration(r.PostFormValue("watch"))
	switch {
	case err != nil || how.Watch <= 0 || how.Watch > mostWatch:
		return refuse(http.StatusBadRequest, "The time to watch must be more than nothing and at most an hour.")
	case len(how.Note) > maxNote:
		return refuse(http.StatusBadRequest, "The note is too long.")
	case r.PostFormValue("confirm") != "yes":
		return refuse(http.StatusBadRequest, "Nothing is applied: it was not confirmed.")
	case d.Denies() && r.PostFormValue("accept") != "yes":
		return refuse(http.StatusConflict, "Nothing is applied: it denies what was used, or nobody knows, and that was not accepted.")
	}
	if err := c.drafts.begin(d.ID, Person{s.who, s.role}, how, now); err != nil {
		return refuse(http.StatusConflict, "Nothing is applied: another model is being applied, or this one was already.")
	}
	http.Redirect(w, r, "/model/draft/"+d.ID, http.StatusSeeOther)
	return nil
}
