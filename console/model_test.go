package console

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// draft has a model planned and returns where the plan is.
func (b *browser) draft(text string) string {
	b.t.Helper()
	a := b.do("POST", "/model/plan", "token="+b.formToken()+"&text="+url.QueryEscape(text))
	at := a.Header.Get("Location")
	if a.StatusCode != http.StatusSeeOther || !strings.HasPrefix(at, "/model/draft/") {
		b.t.Fatalf("%d to %q\n%s", a.StatusCode, at, a.body)
	}
	return at
}

// says waits until a page says something.
func (b *browser) says(path, want string) {
	b.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		a := b.do("GET", path+"?auto=1", "")
		if strings.Contains(a.body, want) {
			return
		}
		select {
		case <-tick.C:
		case <-b.t.Context().Done():
			b.t.Fatalf("%s never says %q:\n%s", path, want, a.body)
		}
	}
}

// TestPlanAndApply holds that what is applied was shown, confirmed, and accepted if it denies what was used; once; and recorded.
func TestPlanAndApply(t *testing.T) {
	shop, c := newShop(t)
	shop.hold = make(chan struct{})
	b := newBrowser(t, c)
	b.as(c, Admin)
	token := "token=" + b.formToken()

	if a := b.do("POST", "/model/plan", token+"&text=broken"); a.StatusCode != http.StatusBadRequest || !strings.Contains(a.body, "palisade.yaml:3:1: error") {
		t.Errorf("%d\n%s", a.StatusCode, a.body)
	}
	at := b.draft("denies")
	b.says(at, "web may no longer call orders")
	b.says(at, "GET orders /orders/{id}")
	b.says(at, `name="accept"`)
	b.says(at, "palisade.yaml:12:3")
	for form, want := range map[string]int{
		"&watch=30s&accept=yes":                                                   http.StatusBadRequest,
		"&watch=30s&confirm=yes":                                                  http.StatusConflict,
		"&watch=2h&confirm=yes&accept=yes":                                        http.StatusBadRequest,
		"&watch=-1s&confirm=yes&accept=yes":                                       http.StatusBadRequest,
		"&watch=never&confirm=yes&accept=yes":                                     http.StatusBadRequest,
		"&watch=1s&confirm=yes&accept=yes&note=" + strings.Repeat("x", maxNote+1): http.StatusBadRequest,
	} {
		if a := b.do("POST", at+"/apply", token+form); a.StatusCode != want || !strings.Contains(a.body, `role="alert"`) {
			t.Errorf("%s: %d\n%s", form, a.StatusCode, a.body)
		}
	}
	if len(shop.applied) > 0 {
		t.Fatalf("applied: %+v", shop.applied)
	}

	// Somebody else neither sees it nor applies it, and an operator plans nothing.
	other := newBrowser(t, c)
	link, err := c.Link("mallory", Admin)
	must(t, err)
	other.do("POST", "/sign-in", "code="+link[strings.Index(link, "#")+1:])
	if a := other.do("GET", at, ""); a.StatusCode != http.StatusNotFound {
		t.Errorf("another administrator: %d", a.StatusCode)
	}
	if a := other.do("POST", at+"/apply", "token="+other.formToken()+"&watch=1s&confirm=yes&accept=yes"); a.StatusCode != http.StatusNotFound {
		t.Errorf("another administrator: %d", a.StatusCode)
	}

	if a := b.do("POST", at+"/apply", token+"&watch=1s&confirm=yes&accept=yes&note=because"); a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != at {
		t.Fatalf("%d\n%s", a.StatusCode, a.body)
	}
	b.says(at, "Being applied")
	second := b.draft("harmless")
	if a := b.do("POST", second+"/apply", token+"&watch=1s&confirm=yes"); a.StatusCode != http.StatusConflict {
		t.Errorf("two at once: %d", a.StatusCode)
	}
	shop.hold <- struct{}{}
	b.says(at, "no more errors than before")
	b.says(at, "Plan going back to")
	if a := b.do("POST", at+"/apply", token+"&watch=1s&confirm=yes&accept=yes"); a.StatusCode != http.StatusConflict {
		t.Errorf("applied twice: %d", a.StatusCode)
	}
	if a := b.do("POST", second+"/apply", token+"&watch=1s&confirm=yes&note=refuse"); a.StatusCode != http.StatusSeeOther {
		t.Errorf("%d", a.StatusCode)
	}
	shop.hold <- struct{}{}
	b.says(second, "another model came into force meanwhile, alice")
	if len(shop.applied) != 2 || shop.applied[0] != (How{time.Second, "because"}) {
		t.Errorf("applied: %+v", shop.applied)
	}

	// What nobody can decide again wants to be accepted, too.
	third := b.draft("unknown")
	b.says(third, "the events of the time are gone")
	if a := b.do("POST", third+"/apply", token+"&watch=1s&confirm=yes"); a.StatusCode != http.StatusConflict {
		t.Errorf("%d", a.StatusCode)
	}

	told := map[string]int{}
	for _, e := range shop.recorded() {
		told[e.Act.Reason+" "+string(e.Act.Outcome)]++
	}
	for what, n := range map[string]int{"console-plan failed": 1, "console-plan done": 3, "console-apply denied": 9} {
		if told[what] != n {
			t.Errorf("%s: %d times, expected %d; all: %v", what, told[what], n, told)
		}
	}
}

// TestPlanForms holds how a model comes in: as a file, as a text, as one of the past; and how much of it.
func TestPlanForms(t *testing.T) {
	shop, c := newShop(t)
	b := newBrowser(t, c)
	b.as(c, Operator)
	if a := b.do("POST", "/model/plan", "token="+b.formToken()+"&text=x"); a.StatusCode != http.StatusForbidden || !strings.Contains(a.body, "needs the role admin") {
		t.Errorf("an operator: %d", a.StatusCode)
	}
	if last := shop.recorded(); last[len(last)-1].Act.Reason != actRefused || last[len(last)-1].Act.Text != "POST /model/plan" {
		t.Errorf("it is not recorded: %+v", last[len(last)-1].Act)
	}
	b.as(c, Admin)
	token := b.formToken()
	multi := func(name, file, text string) *answer {
		body := "--x\r\nContent-Disposition: form-data; name=\"token\"\r\n\r\n" + token + "\r\n--x\r\nContent-Disposition: form-data; name=\"" + name + "\"" + file + "\r\n\r\n" + text + "\r\n--x--\r\n"
		return b.do("POST", "/model/plan", body, "Content-Type", "multipart/form-data; boundary=x")
	}
	for name, a := range map[string]*answer{
		"a file":       multi("file", `; filename="snapshot.json"`, "{}"),
		"a long file":  multi("file", `; filename="snapshot.json"`, strings.Repeat("x", 1<<20)),
		"a past one":   multi("version", "", strings.Repeat("01234567", 8)),
		"the own file": multi("from", "", "files"),
	} {
		if a.StatusCode != http.StatusSeeOther {
			t.Errorf("%s: %d\n%s", name, a.StatusCode, a.body)
		}
	}
	if a := multi("file", `; filename="snapshot.json"`, strings.Repeat("x", maxDocument)); a.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("too much: %d", a.StatusCode)
	}
	if a := multi("nothing", "", ""); a.StatusCode != http.StatusBadRequest {
		t.Errorf("nothing: %d", a.StatusCode)
	}
	if a := b.do("POST", "/model/plan", "--x\r\nbroken", "Content-Type", "multipart/form-data; boundary=x"); a.StatusCode != http.StatusBadRequest {
		t.Errorf("no form: %d", a.StatusCode)
	}
	if len(c.drafts.all) > mostDrafts {
		t.Errorf("%d drafts", len(c.drafts.all))
	}
}

// TestDraftsEnd holds that drafts do not pile up, and that one that is being applied stays.
func TestDraftsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, by := newDrafts(), Person{"alice", Admin}
		first := d.keep(&Draft{}, by, time.Now())
		must(t, d.begin(first, by, How{}, time.Now()))
		old := d.keep(&Draft{}, by, time.Now())
		time.Sleep(draftLife)
		if d.find(old, "alice", time.Now()) != nil {
			t.Error("an old draft is shown")
		}
		if err := d.begin(first, by, How{}, time.Now()); err == nil {
			t.Error("a draft is applied twice")
		}
		for range 3 * mostDrafts {
			d.keep(&Draft{}, by, time.Now())
		}
		if len(d.all) > mostDrafts || d.find(first, "alice", time.Now()) == nil || d.find(first, "bob", time.Now()) != nil {
			t.Errorf("%d drafts", len(d.all))
		}
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
