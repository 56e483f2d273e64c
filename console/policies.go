package console

import (
	"net/http"
	"strings"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/store/query"
)

type policyPage struct {
	Files    []model.PolicyFile
	Roles    []model.ResolvedRole
	Question Question
	Role     string // as it was written
	Asked    bool
	Problem  string
	Event    *event.Event
	Outcome  string
	Reasons  Reasons
}

// policies shows who may do what, and answers whether somebody may.
func (c *Console) policies(w http.ResponseWriter, r *http.Request, s *session) error {
	snap, _ := c.o.Fleet.Model()
	v := r.URL.Query()
	o := policyPage{Files: snap.Policies, Roles: snap.Roles, Role: v.Get("role"), Asked: v.Has("target")}
	o.Question = Question{Method: strings.ToUpper(strings.TrimSpace(v.Get("method"))), Target: strings.TrimSpace(v.Get("target")), As: strings.TrimSpace(v.Get("as"))}
	o.Question.Roles = strings.FieldsFunc(o.Role, func(r rune) bool { return r == ',' || r == ' ' })
	status := http.StatusOK
	if o.Asked {
		leave, err := c.alone(r)
		if err != nil {
			return err
		}
		defer leave()
		e, err := c.o.Fleet.Decide(r.Context(), &o.Question)
		if err != nil {
			o.Problem, status = err.Error(), http.StatusBadRequest
		} else {
			o.Event, o.Outcome, o.Reasons = e, query.OutcomeOf(e), c.o.Fleet.Explain(e, nil)
		}
	}
	c.show(w, r, s, status, "policies", "Policies", &o)
	return nil
}

// Methods are what a form offers.
func (*policyPage) Methods() []string {
	return []string{"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"}
}

// proxies shows every proxy of the fleet.
func (c *Console) proxies(w http.ResponseWriter, r *http.Request, s *session) error {
	state := c.o.Fleet.State(r.Context())
	c.show(w, r, s, http.StatusOK, "proxies", "Proxies", &state)
	return nil
}
