package console

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/palisade-security/palisade/event"
)

// staff is a provider where whoever brings a code is who the code says.
type staff struct{ fails bool }

func (*staff) Name() string { return "staff" }

func (s *staff) Begin(context.Context) (flow, address string, err error) {
	if s.fails {
		return "", "", errors.New("the token endpoint is no https URL")
	}
	return "on-the-way", "https://idp.example/auth?state=s", nil
}

func (*staff) Finish(_ context.Context, flow string, answer url.Values) (Person, time.Time, error) {
	switch code := answer.Get("code"); {
	case flow != "on-the-way":
		return Person{}, time.Time{}, &Refusal{"This sign-in was not begun in this browser."}
	case code == "":
		return Person{}, time.Time{}, errors.New("the answer has no <code>")
	default:
		return Person{"staff:" + code, Operator}, time.Now().Add(time.Hour), nil
	}
}

func (*staff) Leave() string { return "https://idp.example/end?client_id=console" }

func TestProvider(t *testing.T) {
	shop, c := newShop(t)
	b := newBrowser(t, c)
	if a := b.do("GET", "/sign-in/provider", ""); a.StatusCode != http.StatusNotFound {
		t.Errorf("without a provider: %d", a.StatusCode)
	}
	provider := &staff{}
	c.o.SignIn = provider
	if a := b.do("GET", "/sign-in", ""); !strings.Contains(a.body, `href="/sign-in/provider"`) || strings.Contains(a.body, "idp.example") {
		t.Errorf("the page does not lead there:\n%s", a.body)
	}
	for _, site := range []string{"cross-site", "same-site"} {
		if a := b.do("GET", "/sign-in/provider", "", "Sec-Fetch-Site", site); a.StatusCode != http.StatusForbidden || a.Header.Get("Location") != "" {
			t.Errorf("%s begins a sign-in: %d", site, a.StatusCode)
		}
	}
	provider.fails = true
	if a := b.do("GET", "/sign-in/provider", ""); a.StatusCode != http.StatusBadGateway || strings.Contains(a.body, "token endpoint") {
		t.Errorf("%d\n%s", a.StatusCode, a.body)
	}
	provider.fails = false

	// Nobody gets in who was not on the way, and nobody is led elsewhere.
	for _, path := range []string{"/sign-in/callback?code=mallory&state=s", "/sign-in/callback"} {
		a := newBrowser(t, c).do("GET", path, "")
		if a.StatusCode != http.StatusForbidden || strings.Contains(a.Header.Get("Set-Cookie"), sessionCookie+"=") {
			t.Errorf("%s: %d %v", path, a.StatusCode, a.Header)
		}
	}
	a := b.do("GET", "/sign-in/provider", "", "Sec-Fetch-Site", "same-origin")
	if a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != "https://idp.example/auth?state=s" {
		t.Fatalf("%d to %q", a.StatusCode, a.Header.Get("Location"))
	}
	for _, want := range []string{flowCookie + "=on-the-way", "Path=/", "HttpOnly", "Secure", "SameSite=Lax", "Max-Age=600"} {
		if set := a.Header.Get("Set-Cookie"); !strings.Contains(set, want) {
			t.Errorf("the cookie lacks %s: %s", want, set)
		}
	}
	a = b.do("GET", "/sign-in/callback?code=alice&state=s&next=https://evil.example", "", "Sec-Fetch-Site", "cross-site")
	if a.StatusCode != http.StatusOK || a.Header.Get("Refresh") != "0; url=/" || a.Header.Get("Location") != "" || strings.Contains(a.body, "evil") {
		t.Fatalf("%d %v\n%s", a.StatusCode, a.Header, a.body)
	}
	headers(t, "/sign-in/callback", a)
	set := strings.Join(a.Header.Values("Set-Cookie"), "\n")
	for _, want := range []string{sessionCookie + "=", "SameSite=Strict", flowCookie + "=;", "Max-Age=3"} {
		if !strings.Contains(set, want) {
			t.Errorf("the cookies lack %s: %s", want, set)
		}
	}
	if a := b.do("GET", "/", ""); a.StatusCode != http.StatusOK || !strings.Contains(a.body, "staff:alice") {
		t.Errorf("%d\n%s", a.StatusCode, a.body)
	}
	// The answer is good once: the browser is no longer on the way.
	if a := b.do("GET", "/sign-in/callback?code=mallory&state=s", ""); a.StatusCode != http.StatusForbidden {
		t.Errorf("a second time: %d", a.StatusCode)
	}
	a = b.do("POST", "/sign-out", "token="+b.formToken())
	if a.Header.Get("Location") != "/sign-in?left=1" || !strings.Contains(b.do("GET", "/sign-in?left=1", "").body, `href="https://idp.example/end?client_id=console"`) {
		t.Errorf("signing out leads to %q", a.Header.Get("Location"))
	}
	var done, denied int
	for _, e := range shop.recorded() {
		switch {
		case e.Act.Reason == actSignIn && e.Act.Outcome == event.Done && e.Act.Who == "staff:alice" && e.Act.Role == "operator":
			done++
		case e.Act.Reason == actSignIn && e.Act.Outcome == event.Denied:
			denied++
		}
	}
	if done != 1 || denied == 0 {
		t.Errorf("%d sign-ins and %d refusals are recorded", done, denied)
	}
}

// TestSessionEndsWithToken holds that a session does not outlive what it was opened with.
func TestSessionEndsWithToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor()
		cookie := d.enter(Person{"staff:alice", Viewer}, time.Now().Add(20*time.Minute), "", time.Now())
		time.Sleep(20*time.Minute - time.Second)
		if d.find(cookie, true, time.Now()) == nil {
			t.Error("it ends early")
		}
		time.Sleep(time.Second)
		if d.find(cookie, true, time.Now()) != nil {
			t.Error("it outlives the token")
		}
	})
}
