package console

import (
	"context"
	"crypto/subtle"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/palisade-security/palisade/event"
)

// sessionCookie is bound to this host and to TLS by its prefix (RFC 6265bis, section 4.1.3.2).
const sessionCookie = "__Host-palisade"

const (
	maxForm  = 64 << 10
	formName = "token" // of what a form carries to show that it is ours
	autoName = "auto"  // of what a page asks for by itself
)

// policy of the pages: nothing but our own files, and no script or style within a page.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// pageError is an error that people are told as it is.
type pageError struct {
	status int
	text   string
}

func (f *pageError) Error() string { return f.text }

// mostHeavy is how many maps are made and questions decided at once; others wait.
const mostHeavy = 2

// alone waits until there is room for something that takes long. The caller calls leave in the end.
func (c *Console) alone(r *http.Request) (leave func(), err error) {
	select {
	case c.heavy <- struct{}{}:
		return func() { <-c.heavy }, nil
	case <-r.Context().Done():
		return nil, context.Cause(r.Context())
	}
}

// route is one thing that can be asked for.
type route struct {
	pattern string
	open    bool // without a session
	role    Role
	most    int64 // bytes of a form; 0: maxForm
	do      func(c *Console, w http.ResponseWriter, r *http.Request, s *session) error
}

// routes lists everything.
func (c *Console) routes() []route {
	return []route{
		{"GET /static/", true, "", 0, (*Console).file},
		{"GET /sign-in", true, "", 0, (*Console).showSignIn},
		{"POST /sign-in", true, "", 0, (*Console).signIn},
		{"GET /sign-in/provider", true, "", 0, (*Console).beginSignIn},
		{"GET /sign-in/callback", true, "", 0, (*Console).endSignIn},
		{"POST /sign-out", false, Viewer, 0, (*Console).signOut},
		{"POST /theme", false, Viewer, 0, (*Console).setTheme},
		{"GET /{$}", false, Viewer, 0, (*Console).overview},
		{"GET /live", false, Viewer, 0, (*Console).live},
		{"GET /live/stream", false, Viewer, 0, (*Console).stream},
		{"GET /events", false, Viewer, 0, (*Console).search},
		{"GET /request/{id}", false, Viewer, 0, (*Console).request},
		{"GET /map", false, Viewer, 0, (*Console).showMap},
		{"GET /services", false, Viewer, 0, (*Console).services},
		{"GET /services/{name}", false, Viewer, 0, (*Console).service},
		{"GET /policies", false, Viewer, 0, (*Console).policies},
		{"GET /proxies", false, Viewer, 0, (*Console).proxies},
		{"GET /model", false, Viewer, 0, (*Console).showModel},
		{"POST /model/plan", false, Admin, maxDocument, (*Console).planModel},
		{"GET /model/draft/{id}", false, Admin, 0, (*Console).showDraft},
		{"POST /model/draft/{id}/apply", false, Admin, 0, (*Console).applyModel},
	}
}

// guard does what every answer needs: its headers, the right host, and that no other site asks for a change.
func (c *Console) guard(next http.Handler) http.Handler {
	cross := http.NewCrossOriginProtection()
	cross.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.fail(w, r, nil, &pageError{http.StatusForbidden, "Another site asked for this. Open the console by itself and try again."})
	}))
	inner := cross.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if !slices.Contains(c.o.Hosts, hostOf(r)) { // a name of somebody else's that leads here (DNS rebinding)
			c.fail(w, r, nil, &pageError{http.StatusMisdirectedRequest, "This console is not known by that name."})
			return
		}
		inner.ServeHTTP(w, r)
	})
}

func hostOf(r *http.Request) string {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.ToLower(strings.Trim(host, "[]"))
}

// admit lets those through who may.
func (c *Console) admit(want route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := c.door.find(cookieOf(r), !r.URL.Query().Has(autoName), time.Now())
		r.Body = http.MaxBytesReader(w, r.Body, max(want.most, maxForm))
		err := want.check(w, r, s)
		if err == nil {
			err = want.do(c, w, r, s)
		}
		if err != nil {
			c.fail(w, r, s, err)
		}
	})
}

var errSignIn = errors.New("sign in first")

func (want *route) check(w http.ResponseWriter, r *http.Request, s *session) error {
	switch {
	case want.open:
		return nil
	case s == nil:
		return errSignIn
	case !s.role.Permits(want.role):
		return &roleError{want.role, s.role}
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		return nil
	}
	if err := want.readForm(w, r); err != nil {
		return err
	}
	if subtle.ConstantTimeCompare([]byte(r.PostFormValue(formName)), []byte(s.token)) != 1 {
		return &pageError{http.StatusForbidden, "The form is out of date. Reload the page and try again."}
	}
	return nil
}

// readForm reads a form into memory; a large one may take longer.
func (want *route) readForm(w http.ResponseWriter, r *http.Request) error {
	if want.most > 0 {
		if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(sendTime)); err != nil {
			return err
		}
	}
	err := r.ParseForm()
	if err == nil {
		err = r.ParseMultipartForm(max(want.most, maxForm)) //nolint:gosec // G120: the body is bounded where it comes in
	}
	var tooLong *http.MaxBytesError
	switch {
	case errors.As(err, &tooLong):
		return err
	case err != nil && !errors.Is(err, http.ErrNotMultipart):
		return &pageError{http.StatusBadRequest, "The form cannot be read."}
	}
	return nil
}

// roleError refuses somebody whose role does not do.
type roleError struct{ needs, has Role }

func (e *roleError) Error() string {
	return "This needs the role " + string(e.needs) + "; you have " + string(e.has) + "."
}

func cookieOf(r *http.Request) string {
	if c, err := r.Cookie(sessionCookie); err == nil {
		return c.Value
	}
	return ""
}

func notFound(_ *Console, _ http.ResponseWriter, _ *http.Request, s *session) error {
	if s == nil {
		return errSignIn
	}
	return &pageError{http.StatusNotFound, "There is no such page."}
}

// fail says no: to a person with a page, to a script with words.
func (c *Console) fail(w http.ResponseWriter, r *http.Request, s *session, err error) {
	var known *pageError
	var tooLong *http.MaxBytesError
	var role *roleError
	switch {
	case errors.As(err, &role):
		if omitted, may := c.door.tell(time.Now()); may {
			c.record(r, s.who, s.role, actRefused, event.Denied, r.Method+" "+r.URL.Path, omitted)
		}
		known = &pageError{http.StatusForbidden, role.Error()}
	case errors.Is(err, errSignIn) && (r.Method == http.MethodGet || r.Method == http.MethodHead) && r.Header.Get("Hx-Request") == "" && r.Header.Get("Accept") != "text/event-stream":
		http.Redirect(w, r, "/sign-in", http.StatusSeeOther)
		return
	case errors.Is(err, errSignIn):
		w.Header().Set("Hx-Redirect", "/sign-in")
		known = &pageError{http.StatusUnauthorized, "You are not signed in."}
	case errors.As(err, &known):
	case errors.Is(err, ErrNotYet):
		w.Header().Set("Refresh", "2")
		known = &pageError{http.StatusServiceUnavailable, "The store of events is being opened. This page tries again by itself."}
	case errors.As(err, &tooLong):
		known = &pageError{http.StatusRequestEntityTooLarge, "That is too much."}
	case r.Context().Err() != nil: // nobody is there to be told
		return
	default:
		c.o.Log.ErrorContext(r.Context(), "a page of the console failed", "path", r.URL.Path, "error", err)
		known = &pageError{http.StatusInternalServerError, "This page could not be made; the reason stands in the log."}
	}
	c.show(w, r, s, known.status, "error", http.StatusText(known.status), known.text)
}
