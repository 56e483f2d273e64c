package app_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/app"
	"github.com/palisade-security/palisade/app/audit"
	"github.com/palisade-security/palisade/internal/fleettest"
	"github.com/palisade-security/palisade/store/query"
	"github.com/palisade-security/palisade/token"
)

// erasable is a fleet that keeps pseudonyms in place of names.
type erasable struct{ *fleet }

// asks has a user ask for something, by a path that holds the name, too.
func (f *erasable) asks(user string) {
	f.T.Helper()
	bearer := "Authorization: Bearer " + f.token(user, token.Claims{Extra: map[string]any{"tenant": user + "@shop.example"}}, "customer")
	for _, path := range []string{"/orders/1", "/orders/2?for=" + user, "/nowhere/" + user} {
		f.Do(f.Client(false), http.MethodGet, path, "", bearer)
	}
}

// says runs something with the options of this fleet and returns what it printed.
func (f *erasable) says(do func(o *app.Options) error) (string, error) {
	var out bytes.Buffer
	o := *f.options
	o.Out, o.Err, o.Quiet = &out, &out, true
	err := do(&o)
	return out.String(), err
}

// events are those of a user, or of all, as they are read.
func (f *erasable) events(user string) string {
	f.T.Helper()
	out, err := f.says(func(o *app.Options) error {
		return app.Events(f.T.Context(), o, &app.EventQuery{User: user, Format: "json"})
	})
	if err != nil {
		f.T.Fatal(err)
	}
	return out
}

// has tells whether a file of the state directory has some text.
func (f *erasable) has(text string) string {
	f.T.Helper()
	return fleettest.Holding(f.T, f.Path(".palisade"), text)
}

// TestErase: a person who is erased is in no file any more, the events are, under a pseudonym, and the ledger verifies. A hold keeps it from being done.
func TestErase(t *testing.T) {
	f := &erasable{startFleet(t, "mesh: {} #", "audit: {pseudonyms: true}\nmesh: {} #")}
	const name, other = "lidia-liddell", "bob-builder"
	f.asks(name)
	f.asks(other)
	f.Eventually("events are found by the name", func() bool { return strings.Count(f.events(name), "\n") >= 3 })
	if read := f.events(name); strings.Count(read, `"uid":"`+name+`"`) < 3 || !strings.Contains(read, "for="+name) || strings.Contains(read, other) {
		t.Errorf("who may read events reads\n%s", read)
	}
	f.Eventually("the name is in no file, also before", func() bool { return f.has(name) == "" })
	before, err := f.says(func(o *app.Options) error {
		narrows, err := app.Replay(t.Context(), o, &app.ReplayQuery{})
		if narrows {
			t.Error("the same model decides otherwise")
		}
		return err
	})
	if err != nil || strings.Contains(before, "newly") && !strings.Contains(before, "newly denied 0\nnewly allowed 0") {
		t.Errorf("replay: %v\n%s", err, before)
	}

	erase := func(user string) (string, error) {
		return f.says(func(o *app.Options) error { return app.Erase(t.Context(), o, user, true) })
	}
	held := query.Hold{Name: "case-1", Query: "user:" + name, Reason: name + " asked"}
	if _, err := f.says(func(o *app.Options) error { return app.Hold(t.Context(), o, held) }); err != nil {
		t.Fatal(err)
	}
	if out, err := f.says(func(o *app.Options) error { return app.Holds(t.Context(), o) }); err != nil || !strings.Contains(out, "user:"+name+" ") || strings.Contains(out, "person-") {
		t.Errorf("holds: %v\n%s", err, out)
	}
	if out, err := erase(name); !errors.Is(err, app.ErrNotErased) || !strings.Contains(err.Error(), `"case-1"`) {
		t.Errorf("while it is held: %v\n%s", err, out)
	}
	if _, err := f.says(func(o *app.Options) error { return app.ReleaseHold(t.Context(), o, "case-1") }); err != nil {
		t.Fatal(err)
	}
	out, err := erase(name)
	if err != nil || !strings.Contains(out, "is destroyed") || strings.Contains(out, name) {
		t.Fatalf("%v\n%s", err, out)
	}
	_, rest, _ := strings.Cut(out, "the key of ")
	pseudonym, _, _ := strings.Cut(rest, " ")
	f.Eventually("the name is in no file", func() bool { return f.has(name) == "" })
	if left := f.events(pseudonym); strings.Count(left, "\n") < 3 || strings.Contains(left, name) || f.events(name) != "" || strings.Count(f.events(other), "\n") < 3 {
		t.Errorf("left are\n%s", left)
	}
	if out, err := erase(name); err == nil || !strings.Contains(err.Error(), "no pseudonym stands for that name") {
		t.Errorf("a second time: %v\n%s", err, out)
	}
	if after, err := f.says(func(o *app.Options) error { _, err := app.Replay(t.Context(), o, &app.ReplayQuery{}); return err }); err != nil || !strings.Contains(after, "user: the person is erased") {
		t.Errorf("replay: %v\n%s", err, after)
	}
	f.Eventually("the act is recorded", func() bool {
		acts, err := f.says(func(o *app.Options) error {
			return app.Events(t.Context(), o, &app.EventQuery{Kind: "erased", Format: "json"})
		})
		return err == nil && strings.Contains(acts, pseudonym) && !strings.Contains(acts, name)
	})
	f.Eventually("the ledger verifies", func() bool {
		var exact bool
		_, err := f.says(func(o *app.Options) (err error) {
			exact, err = app.AuditVerify(t.Context(), o, "", "", time.Time{}, &audit.Trust{})
			return err
		})
		return err == nil && exact
	})
	f.asks(name)
	f.Eventually("who comes again is somebody else", func() bool {
		return strings.Count(f.events(name), "\n") >= 3 && !strings.Contains(f.events(name), pseudonym) && strings.Count(f.events(pseudonym), "\n") >= 3 && f.has(name) == ""
	})
}

// TestHoldOfBefore: a hold that names a user and is older than pseudonyms keeps what comes under them, too, and keeps the person from being erased.
func TestHoldOfBefore(t *testing.T) {
	f := &erasable{startFleet(t)}
	const name, early = "lidia-liddell", "zoe-before"
	f.Eventually("a hold is placed", func() bool {
		_, err := f.says(func(o *app.Options) error {
			return app.Hold(t.Context(), o, query.Hold{Name: "case-1", Query: "user:" + name})
		})
		return err == nil
	})
	f.asks(name)
	f.asks(early)
	f.Eventually("events are found", func() bool {
		return strings.Count(f.events(name), "\n") >= 3 && strings.Count(f.events(early), "\n") >= 3
	})
	f.stop()
	<-f.done
	f.Edit("palisade.yaml", "mesh: {} #", "audit: {pseudonyms: true}\nmesh: {} #")
	f.Messages.Reset()
	f.done = make(chan struct{})
	f.start()
	before := strings.Count(f.events(name), "\n")
	if out, err := f.says(func(o *app.Options) error { return app.Erase(t.Context(), o, early, true) }); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("; %d events say the name", strings.Count(f.events(early), "\n"))) {
		t.Errorf("who has no pseudonym, and events from before there were any: %v\n%s", err, out)
	}
	f.asks(name)
	f.Eventually("what is named and what is not is found by the name", func() bool { return strings.Count(f.events(name), "\n") >= before+3 })
	f.Eventually("the hold is placed once more", func() bool {
		out, err := f.says(func(o *app.Options) error { return app.Holds(t.Context(), o) })
		return err == nil && strings.Contains(out, "case-1.pseudonyms") && strings.Count(out, "user:"+name) == 2
	})
	for _, hold := range []string{"case-1", "case-1.pseudonyms"} {
		if out, err := f.says(func(o *app.Options) error { return app.Erase(t.Context(), o, name, true) }); !errors.Is(err, app.ErrNotErased) {
			t.Errorf("while it is held: %v\n%s", err, out)
		}
		if _, err := f.says(func(o *app.Options) error { return app.ReleaseHold(t.Context(), o, hold) }); err != nil {
			t.Fatal(err)
		}
	}
	out, err := f.says(func(o *app.Options) error { return app.Erase(t.Context(), o, name, true) })
	if err != nil || !strings.Contains(out, "events say the name") || strings.Count(f.events(name), "\n") < 3 {
		t.Errorf("%v\n%s", err, out)
	}
}
