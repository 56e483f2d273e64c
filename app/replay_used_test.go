package app

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/internal/fleettest"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/store/journal"
	"github.com/palisade-security/palisade/store/query"
)

// used is a folder with records of the shop.
func used(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	j, _, err := journal.Open(journal.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 60 {
		if _, err := j.Append(t.Context(), event.AppendJSON(nil, benchRecord(i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// shopWith is the shop's model after an edit, and its snapshot.
func shopWith(t *testing.T, old, text string) (dir string, snap *model.Snapshot) {
	t.Helper()
	dir = t.TempDir()
	fleettest.CopyModel(t, dir, "../examples/shop")
	path := filepath.Join(dir, "palisade.yaml")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), old) {
		t.Fatalf("the model has no %s", old)
	}
	write(t, path, strings.Replace(string(b), old, text, 1))
	o := &Options{Paths: []string{dir}, Err: t.Output()}
	_, snap, findings, err := o.forOthers().load(true)
	if err != nil {
		t.Fatal(err, findings)
	}
	return dir, snap
}

const (
	orderGrant  = "allow: [{roles: [customer], methods: [GET, POST]}]"
	orderNarrow = "allow: [{roles: [customer], methods: [GET]}]"
)

// TestApplyNarrows holds that nothing is put in force that denies what was used, unless that is accepted.
func TestApplyNarrows(t *testing.T) {
	dir := used(t)
	_, same := shopWith(t, orderGrant, orderGrant)
	_, narrow := shopWith(t, orderGrant, orderNarrow)
	long := benchRecord(0).Time.Add(-time.Hour)
	for name, c := range map[string]struct {
		snap   *model.Snapshot
		since  time.Time
		accept bool
		want   string
	}{
		"same":       {same, long, false, ""},
		"narrow":     {narrow, long, false, "it denies 10 of 60 decisions"},
		"accepted":   {narrow, long, true, ""},
		"not looked": {narrow, time.Time{}, false, ""},
		"used later": {narrow, benchRecord(59).Time.Add(time.Second), false, ""},
	} {
		var out bytes.Buffer
		o := &Options{Out: &out, Err: &out}
		err := o.unused(t.Context(), o.record(dir), c.snap, c.since, c.accept)
		switch {
		case c.want == "" && err != nil, c.want != "" && (!errors.Is(err, ErrNotApplied) || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: got %v", name, err)
		case c.snap == narrow && c.since.Equal(long) && !strings.Contains(out.String(), "10× POST orders /orders  customer of dev"):
			t.Errorf("%s: shown\n%s", name, out.String())
		}
	}
}

// noEvents is an interface of control that answers every question with a problem.
type noEvents struct{ problem *admin.Problem }

func (n noEvents) Last(context.Context, query.Query, int, query.Cursor) (*query.Page, error) {
	return nil, n.problem
}

func (n noEvents) Count(context.Context, query.Query, query.Field, int) (*query.Counts, error) {
	return nil, n.problem
}

func (n noEvents) Histogram(context.Context, query.Query, time.Duration, query.Field, int) (*query.Series, error) {
	return nil, n.problem
}

// TestApplyWithoutEvents holds that a control that keeps no events can apply, and one that cannot read them asks for --accept.
func TestApplyWithoutEvents(t *testing.T) {
	_, snap := shopWith(t, orderGrant, orderNarrow)
	var out bytes.Buffer
	o := &Options{Out: &out, Err: &out}
	since := time.Now().Add(-time.Hour)
	if err := o.unused(t.Context(), noEvents{&admin.Problem{Status: http.StatusNotFound}}, snap, since, false); err != nil || !strings.Contains(out.String(), "no events are kept here") {
		t.Errorf("got %v\n%s", err, out.String())
	}
	broken := noEvents{&admin.Problem{Status: http.StatusInternalServerError, Title: "broken"}}
	if err := o.unused(t.Context(), broken, snap, since, false); !errors.Is(err, ErrNotApplied) || !strings.Contains(err.Error(), "--accept") {
		t.Errorf("got %v", err)
	}
	if err := o.unused(t.Context(), broken, snap, since, true); err != nil {
		t.Errorf("got %v", err)
	}
}

// TestPlanReplays holds that a plan shows what of the used would be denied.
func TestPlanReplays(t *testing.T) {
	dir, _ := shopWith(t, orderGrant, orderNarrow)
	var out bytes.Buffer
	o := &Options{Paths: []string{dir}, Audit: used(t), Out: &out, Err: &out}
	finds, err := Plan(t.Context(), o, PlanQuery{From: "../examples/shop", Replay: benchRecord(0).Time})
	if err != nil || !finds {
		t.Fatal(finds, err)
	}
	for _, want := range []string{"narrow", "newly denied 10", "10× POST orders /orders"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
	out.Reset()
	o.JSON = true
	finds, err = Plan(t.Context(), o, PlanQuery{From: "../examples/shop", Replay: benchRecord(0).Time})
	if err != nil || !finds || !strings.Contains(out.String(), `"newly_denied": 10`) || !strings.Contains(out.String(), `"widens": false`) {
		t.Errorf("%v, %v\n%s", finds, err, out.String())
	}
}
