package console

import (
	"net/http"
	"strings"
	"time"

	"github.com/palisade-security/palisade/event"
)

// What acts of the console are called.
const (
	actSignIn  = "console-sign-in"
	actSignOut = "console-sign-out"
	actRefused = "console-refused" // somebody asked for what the role does not permit
)

// refusalPause is at least between two records of secrets that open nothing: who shows them is anybody.
const refusalPause = time.Second

func (c *Console) showSignIn(w http.ResponseWriter, r *http.Request, s *session) error {
	if s != nil && !r.URL.Query().Has("again") {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return nil
	}
	c.signInPage(w, r, http.StatusOK, "")
	return nil
}

type signInPage struct {
	Problem  string
	Provider string // name of; empty: there is none
	Leave    string // where to sign out of it, too; empty: no talk of it
}

func (c *Console) signInPage(w http.ResponseWriter, r *http.Request, status int, problem string) {
	o := signInPage{Problem: problem}
	if c.o.SignIn != nil {
		o.Provider = c.o.SignIn.Name()
		if r.URL.Query().Has(leftName) {
			o.Leave = c.o.SignIn.Leave()
		}
	}
	c.show(w, r, nil, status, "sign-in", "Sign in", &o)
}

const leftName = "left" // of a sign-in page that somebody gets to who signed out

// signIn takes the secret of a one-time link.
func (c *Console) signIn(w http.ResponseWriter, r *http.Request, _ *session) error {
	if err := r.ParseForm(); err != nil {
		return &pageError{http.StatusBadRequest, "The form cannot be read."}
	}
	now := time.Now()
	cookie, s, ok := c.door.redeem(strings.TrimSpace(r.PostForm.Get("code")), cookieOf(r), now)
	if !ok {
		if omitted, may := c.door.tell(now); may {
			c.record(r, "", "", actSignIn, event.Denied, "the link is used, too old or wrong", omitted)
		}
		c.signInPage(w, r, http.StatusForbidden, "That link was used already, is older than five minutes, or was never made. “palisade console link” prints a new one.")
		return nil
	}
	setCookie(w, sessionCookie, cookie, int(mostLife.Seconds()))
	c.record(r, s.who, s.role, actSignIn, event.Done, "by a one-time link", 0)
	http.Redirect(w, r, "/", http.StatusSeeOther)
	return nil
}

func (c *Console) signOut(w http.ResponseWriter, r *http.Request, s *session) error {
	c.door.leave(cookieOf(r))
	setCookie(w, sessionCookie, "", -1)
	c.record(r, s.who, s.role, actSignOut, event.Done, "", 0)
	http.Redirect(w, r, "/sign-in?"+leftName+"=1", http.StatusSeeOther)
	return nil
}

// setCookie sets a cookie that scripts do not see and other sites do not send; it ends after so many seconds.
func setCookie(w http.ResponseWriter, name, value string, seconds int) {
	http.SetCookie(w, &http.Cookie{Name: name, Value: value, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode, MaxAge: seconds})
}

// record writes down what somebody did here.
func (c *Console) record(r *http.Request, who string, role Role, what string, outcome event.Result, text string, omitted int64) {
	host, port := clientOf(r)
	c.o.Record(r.Context(), &event.Event{Client: host, ClientPort: port, Act: &event.Act{
		Kind: event.KindAdminister, Who: who, Role: string(role), Object: "console", Outcome: outcome, Reason: what, Text: text, Proxy: "console", Omitted: omitted,
	}})
}
