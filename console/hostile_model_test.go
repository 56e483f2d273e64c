package console

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/model/plan"
)

// evilPlanner has the same text in every place.
type evilPlanner struct{ s string }

func (e evilPlanner) Past(context.Context) ([]Past, error) {
	return []Past{{1, e.s, time.Now(), e.s, e.s}}, nil
}

func (e evilPlanner) Draft(_ context.Context, _ Person, p *Proposal) (*Draft, error) {
	if string(p.Document) == "broken" {
		return nil, &Refusal{e.s}
	}
	at := model.Position{File: e.s, Line: 1, Column: 1}
	d := &Draft{Unused: e.s, Plan: plan.Plan{Before: e.s, After: e.s, Changes: []plan.Change{{Kind: plan.Widens, Key: e.s, Words: e.s, Before: at, After: at}}}}
	if string(p.Document) == "used" {
		d.Used = &Used{Records: 1, Denied: 1, Kinds: []UsedKind{{Denied: true, Count: 1, What: e.s, Who: e.s, Now: e.s, Was: e.s, Samples: []string{e.s}}}}
	}
	return d, nil
}

func (e evilPlanner) Apply(context.Context, Person, *Draft, How) (*Applied, error) {
	return &Applied{Outcome: e.s, Version: e.s, Reason: e.s, Trials: []Trial{{Name: e.s, Instance: e.s, Verdict: e.s, Failed: true}}}, nil
}

// TestHostileModels puts hostile texts into all that is told of models, and reads the pages as a browser does.
func TestHostileModels(t *testing.T) {
	for _, s := range hostile {
		shop, c := newShopOf(t, evilPlanner{s})
		shop.state = State{Rollout: &Rollout{Version: s, Author: s, Trials: []string{s}}, Proxies: []Proxy{{Name: s, Instance: s, Version: s}}}
		b := newBrowser(t, c)
		b.as(c, Admin)
		token := "token=" + b.formToken()
		harmless(t, "/model", b.do("GET", "/model", "").body)
		broken := b.do("POST", "/model/plan", token+"&text=broken")
		if broken.StatusCode != http.StatusBadRequest {
			t.Errorf("%d", broken.StatusCode)
		}
		harmless(t, "broken", broken.body)
		for _, text := range []string{"used", "unknown"} {
			at := b.draft(text)
			harmless(t, text, b.do("GET", at, "").body)
			b.do("POST", at+"/apply", token+"&watch=1s&confirm=yes&accept=yes&note=x")
			b.says(at, "Plan: <code>")
			harmless(t, text, b.do("GET", at, "").body)
		}
		if len(shop.recorded()) == 0 || strings.Contains(b.do("GET", "/model", "").body, "<script>alert") {
			t.Errorf("%q runs", s)
		}
	}
}
