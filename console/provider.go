package console

import (
	"errors"
	"net/http"
	"time"

	"github.com/palisade-security/palisade/event"
)

// flowCookie is held by a browser on its way to the provider and back. It comes back from another site, which SameSite=Strict would
// not let it do.
const (
	flowCookie  = "__Host-palisade-flow"
	flowSeconds = 600
)

var errNoProvider = &pageError{http.StatusNotFound, "People sign in here by one-time links alone."}

// beginSignIn sends a browser to the provider, if somebody here asked for that: another site could have people signed in who did
// not want to be.
func (c *Console) beginSignIn(w http.ResponseWriter, r *http.Request, _ *session) error {
	if c.o.SignIn == nil {
		return errNoProvider
	}
	if from := r.Header.Get("Sec-Fetch-Site"); from != "" && from != "same-origin" && from != "none" {
		return &pageError{http.StatusForbidden, "Another site asked for this. Open the console by itself and try again."}
	}
	flow, address, err := c.o.SignIn.Begin(r.Context())
	if err != nil {
		c.o.Log.WarnContext(r.Context(), "nobody can sign in to the console", "error", err)
		c.signInPage(w, r, http.StatusBadGateway, c.o.SignIn.Name()+" does not answer as it should; the reason stands in the log.")
		return nil
	}
	setLaxCookie(w, flowCookie, flow, flowSeconds)
	http.Redirect(w, r, address, http.StatusSeeOther) // the provider's, from its metadata
	return nil
}

// endSignIn takes a browser back from the provider. There is nowhere to go on to but the overview, so that nobody is led elsewhere.
func (c *Console) endSignIn(w http.ResponseWriter, r *http.Request, _ *session) error {
	if c.o.SignIn == nil {
		return errNoProvider
	}
	now := time.Now()
	flow := ""
	if held, err := r.Cookie(flowCookie); err == nil {
		flow = held.Value
	}
	setLaxCookie(w, flowCookie, "", -1)
	by, ends, err := c.o.SignIn.Finish(r.Context(), flow, r.URL.Query())
	if err != nil {
		text := "That did not work; the reason stands in the log. Try again."
		if refusal, ok := errors.AsType[*Refusal](err); ok {
			text = refusal.Text
		}
		if omitted, may := c.door.tell(now); may {
			c.o.Log.WarnContext(r.Context(), "somebody did not sign in to the console", "provider", c.o.SignIn.Name(), "error", err)
			c.record(r, by.Name, by.Role, actSignIn, event.Denied, "by "+c.o.SignIn.Name()+": "+err.Error(), omitted)
		}
		c.signInPage(w, r, http.StatusForbidden, text)
		return nil
	}
	cookie := c.door.enter(by, ends, cookieOf(r), now)
	setCookie(w, sessionCookie, cookie, int(min(mostLife, ends.Sub(now)).Seconds()))
	c.record(r, by.Name, by.Role, actSignIn, event.Done, "by "+c.o.SignIn.Name(), 0)
	// A browser that another site sends here would not show the new cookie to where a redirect leads. To where a page leads it does.
	w.Header().Set("Refresh", "0; url=/")
	c.show(w, r, nil, http.StatusOK, "signed-in", "Signed in", nil)
	return nil
}

// setLaxCookie is setCookie, but for what must come back when another site leads here.
func setLaxCookie(w http.ResponseWriter, name, value string, seconds int) {
	http.SetCookie(w, &http.Cookie{Name: name, Value: value, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode, MaxAge: seconds})
}
