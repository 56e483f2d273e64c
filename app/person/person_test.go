package person

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/event/eventtest"
	"github.com/palisade-security/palisade/internal/pgtest"
	"github.com/palisade-security/palisade/keyring"
	"github.com/palisade-security/palisade/store/query"
	"github.com/palisade-security/palisade/store/table"
)

var postgres pgtest.Server

func TestMain(m *testing.M) {
	code := m.Run()
	postgres.Stop()
	os.Exit(code)
}

// opener opens one book again and again, as several processes would.
func opener(t testing.TB, location string) func() *Book {
	t.Helper()
	dir := t.TempDir()
	keeper, err := keyring.LocalKeeper(dir)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keyring.OpenRing(t.Context(), dir, keeper)
	if err != nil {
		t.Fatal(err)
	}
	if location == "" {
		location = "sqlite:" + filepath.Join(dir, "persons.db")
	}
	return func() *Book {
		t.Helper()
		tables, err := table.Open(t.Context(), location)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = tables.Close() })
		b, err := Open(t.Context(), tables, ring)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
}

func hide(t testing.TB, b *Book, events ...*event.Event) []*event.Event {
	t.Helper()
	out, err := b.Hide(context.Background(), events)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func show(t testing.TB, b *Book, events ...*event.Event) []*event.Event {
	t.Helper()
	out, err := b.Show(context.Background(), events)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func pseudonym(t testing.TB, b *Book, name string) string {
	t.Helper()
	out, whom, err := b.Pseudonym(context.Background(), name)
	if err != nil || whom != name {
		t.Fatalf("%q, %v", whom, err)
	}
	return out
}

// of is a request of a user that quotes him wherever one can.
func of(name, mail string) *event.Event {
	at := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	return &event.Event{
		Time: at, ID: event.NewID(at), Method: "GET", Host: "shop.localhost", Path: "/users/" + name + "/orders/7", Query: "for=" + name + "&mail=" + strings.ReplaceAll(mail, "@", "%40"),
		Referer: "https://shop.localhost/home/" + name + "?mail=" + mail, Headers: []event.Header{{Name: "X-User", Value: name}, {Name: "Accept", Value: "*/*"}},
		User: &event.User{Provider: "dev", Subject: name, TokenID: "token-1", Roles: []string{"customer"}, Attributes: &event.Attributes{Claims: []event.Claim{
			{Name: "email", Value: mail}, {Name: "number", Value: int64(4711)}, {Name: "staff", Value: true}, {Name: "groups", Value: []string{"a", name}}, {Name: "none"},
		}}},
		Trail: []event.Stage{{Name: event.StageAuthorise, Outcome: event.OutcomePass, Reasons: []event.Reason{
			{Code: "permit", Text: "policy permits " + name + ".", Data: map[string]string{"principal": `User::"` + name + `"`, "mail": mail}},
		}}},
	}
}

// TestHide: nothing of a user is left, others read the same again, and what was given is as it was.
func TestHide(t *testing.T) {
	b := opener(t, "")()
	for _, c := range []struct{ name, mail string }{
		{"alice", "a.liddell@shop.example"},
		{"auth0|5f7c8ec7c33c", "wonder@shop.example"},
		{"Alice Liddell", "liddell@shop.example"},
		{"alïce/über", "ü@shop.example"},
		{"7", "seven@shop.example"},
		{"alice@shop.example", "alice@shop.example"},
	} {
		e := of(c.name, c.mail)
		before := string(event.AppendJSON(nil, e))
		kept := hide(t, b, e)[0]
		text := string(event.AppendJSON(nil, kept))
		for _, gone := range []string{c.name, c.mail, strings.ReplaceAll(c.mail, "@", "%40"), "token-1", "4711"} {
			if len(gone) >= leastQuoted && stands(text, gone) {
				t.Errorf("%q is left in %s", gone, text)
			}
		}
		if got := string(event.AppendJSON(nil, show(t, b, kept)[0])); got != before {
			t.Errorf("read as\n%s, was\n%s", got, before)
		}
		if after := string(event.AppendJSON(nil, e)); after != before {
			t.Errorf("what was given is now %s", after)
		}
		if again := event.AppendJSON(nil, hide(t, b, e)[0]); string(again) != text {
			t.Error("the same event is kept in two forms")
		}
		if parsed, err := event.Parse([]byte(text)); err != nil || string(event.AppendJSON(nil, parsed)) != text {
			t.Errorf("it is not read back: %v", err)
		}
	}
}

// stands tells whether a name stands somewhere by itself.
func stands(text, name string) bool { return bounded(text, name, "\x00") != text }

// TestOthers: where others name a user it is the pseudonym, in requests, acts and log records.
func TestOthers(t *testing.T) {
	b := opener(t, "")()
	hide(t, b, of("alice", "alice@shop.example"))
	p := pseudonym(t, b, "alice")
	request := of("bob", "bob@shop.example")
	request.Path, request.Query = "/admin/users/alice", "owner=%61lice&x=alice"
	kept := hide(t, b, request,
		&event.Event{Act: &event.Act{Kind: event.KindHeld, Who: "corp:alice", Role: "admin", Object: "case-1", Text: `user:alice path:/users/alice/*; reason: "alice asked"`}},
		&event.Event{Act: &event.Act{Kind: event.KindIntake, Who: "alice", Object: "orders"}},
		&event.Event{Act: &event.Act{Kind: event.KindApplied, Who: "local:root", Role: "admin", Object: "m"}},
		&event.Event{Act: &event.Act{Kind: event.KindApplied, Who: "uid:1000", Role: "admin", Object: "m"}},
		&event.Event{Log: &event.Log{Text: "order of alice, paid (alice): user=alice", Attributes: map[string]string{"user.id": "alice", "other": "malice"}}},
	)
	var all strings.Builder
	for _, e := range kept {
		all.Write(event.AppendJSON(nil, e))
	}
	if stands(all.String(), "alice") || !strings.Contains(all.String(), "malice") {
		t.Error(all.String())
	}
	if kept[0].Path != "/admin/users/"+p || !strings.Contains(kept[0].Query, "x="+p) || kept[1].Act.Who != "corp:"+p || kept[5].Log.Text != "order of "+p+", paid ("+p+"): user="+p {
		t.Errorf("%+v, %+v, %+v", kept[0], kept[1].Act, kept[5].Log)
	}
	if kept[3].Act.Who != "local:root" || kept[4].Act.Who != "uid:1000" {
		t.Errorf("accounts of nobody are %s and %s", kept[3].Act.Who, kept[4].Act.Who)
	}
	if got := show(t, b, kept[0])[0]; got.Path != request.Path || got.Query != request.Query {
		t.Errorf("%s?%s", got.Path, got.Query)
	}
	if err := b.Erase(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if got := show(t, b, kept[0])[0]; got.Path != kept[0].Path || got.User.Subject != "bob" {
		t.Errorf("%s, %+v", got.Path, got.User)
	}
}

// TestOthersOdd: so it is of names that are no words, such as mail addresses, in what others are recorded with.
func TestOthersOdd(t *testing.T) {
	for _, name := range []string{"alice@shop.example", "auth0|5f7c8ec7", "Alice Liddell", "alice+1@shop.example", "CN=Alice,O=Shop"} {
		t.Run(name, func(t *testing.T) {
			b := opener(t, "")()
			hide(t, b, of(name, "x@shop.example"))
			request := of("bob", "bob@shop.example")
			once := strings.ReplaceAll(strings.ReplaceAll(url.PathEscape(name), "@", "%40"), "+", "%2B")
			request.Path, request.Query = "/users/"+once+"/"+strings.ReplaceAll(once, "%", "%25"), "x="+once+"&y="+strings.ReplaceAll(once, "%", "%2525")
			as := []*event.Event{
				request,
				{Act: &event.Act{Kind: event.KindHeld, Who: "corp:bob", Role: "admin", Object: "case-1", Text: query.String(query.Is{Field: query.User, Value: name}) + `; reason: "claim"`}},
			}
			if !strings.Contains(name, " ") && !strings.Contains(name, "=") {
				request.Query += "&z=user:" + url.QueryEscape(name) + "&who=key:" + name
				as = append(as, &event.Event{Log: &event.Log{Text: "order of id:1,user=" + name + ", paid", Attributes: map[string]string{"for": "user:" + name}}})
			}
			var all strings.Builder
			kept := hide(t, b, as...)
			for _, e := range kept {
				all.Write(event.AppendJSON(nil, e))
			}
			if stands(all.String(), name) || stands(all.String(), once) || strings.Contains(all.String(), "lice") {
				t.Error(all.String())
			}
			if got := show(t, b, kept...); !reflect.DeepEqual(got, as) {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestWords: who is called like a service is a pseudonym, and the service is what it was.
func TestWords(t *testing.T) {
	b := opener(t, "")()
	b.Words(func(name string) bool { return name == "orders" })
	e := of("orders", "orders@shop.example")
	kept := hide(t, b, e)[0]
	if kept.User.Subject == "orders" || kept.Path != e.Path || kept.Trail[0].Reasons[0].Text != e.Trail[0].Reasons[0].Text {
		t.Errorf("%+v, %+v", kept, kept.User)
	}
	if got := show(t, b, kept)[0]; !reflect.DeepEqual(got, e) {
		t.Errorf("%+v, %+v", got, got.User)
	}
	where, err := query.Parse("user:orders path:/users/orders/*")
	if err != nil {
		t.Fatal(err)
	}
	if q, err := b.Asked(t.Context(), query.Query{Where: where}); err != nil || !q.Match(kept) {
		t.Errorf("%s does not find it: %v", query.String(q.Where), err)
	}
}

// TestRound: whatever a fleet records is read as it was recorded, and no user's name is kept.
func TestRound(t *testing.T) {
	b := opener(t, "")()
	f := eventtest.New(11, time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC), time.Second)
	events := append(f.Take(3000), f.Logs(500)...)
	kept := hide(t, b, events...)
	for i, e := range show(t, b, kept...) {
		if got, want := string(event.AppendJSON(nil, e)), string(event.AppendJSON(nil, events[i])); got != want {
			t.Fatalf("read as\n%s, was\n%s", got, want)
		}
		if u := events[i].User; u != nil && stands(string(event.AppendJSON(nil, kept[i])), u.Subject) {
			t.Fatalf("%s is left in %s", u.Subject, event.AppendJSON(nil, kept[i]))
		}
	}
}

// TestShared: several processes have one book, in each kind of table: one name has one pseudonym, and who is erased by one is nobody to all, and
// somebody else when he comes again.
func TestShared(t *testing.T) {
	for kind, location := range map[string]func(testing.TB) string{"sqlite": func(testing.TB) string { return "" }, "postgres": postgres.Database} {
		t.Run(kind, func(t *testing.T) {
			open := opener(t, location(t))
			one, two := open(), open()
			done := make(chan string, 8)
			for _, b := range []*Book{one, two, one, two, one, two, one, two} {
				go func() {
					out, err := b.Hide(context.Background(), []*event.Event{of("alice", "alice@shop.example")})
					if err != nil {
						done <- err.Error()
						return
					}
					done <- out[0].User.Subject
				}()
			}
			p := <-done
			for range 7 {
				if other := <-done; other != p {
					t.Errorf("%s and %s", p, other)
				}
			}
			kept := hide(t, one, of("alice", "alice@shop.example"))
			if got := show(t, two, kept...)[0].User.Subject; got != "alice" {
				t.Errorf("another process reads %q", got)
			}
			if err := one.Erase(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			for _, b := range []*Book{one, two, open()} {
				if got := show(t, b, kept...)[0]; string(event.AppendJSON(nil, got)) != string(event.AppendJSON(nil, kept[0])) {
					t.Errorf("%+v is still read", got.User)
				}
				if _, _, err := b.Pseudonym(t.Context(), "alice"); !errors.Is(err, ErrNobody) {
					t.Errorf("erased: %v", err)
				}
			}
			if err := two.Erase(t.Context(), p); !errors.Is(err, ErrNobody) {
				t.Errorf("erased twice: %v", err)
			}
			again := hide(t, two, of("alice", "alice@shop.example"))[0].User.Subject
			if again == p || show(t, one, hide(t, one, of("alice", "x@y"))...)[0].User.Subject != "alice" || pseudonym(t, one, "alice") != again {
				t.Errorf("comes again as %s, was %s", again, p)
			}
		})
	}
}

// TestAsked: who asks for a name means the pseudonym, too, and a query that is kept is shown as it was asked.
func TestAsked(t *testing.T) {
	b := opener(t, "")()
	kept := hide(t, b, of("alice", "alice@shop.example"), of("bob", "bob@shop.example"))
	for text, want := range map[string]bool{
		"user:alice": true, "user:bob": false, "-user:bob": true, "path:/users/alice/orders/7": true, "path:/users/alice/*": true, "user:carol or user:alice": true,
		"alice": true, "user:carol": false, "-user:alice": false, "method:GET -path:/users/alice*": false, "user:" + pseudonym(t, b, "alice"): true,
	} {
		where, err := query.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		q, err := b.Asked(t.Context(), query.Query{Where: where})
		if err != nil {
			t.Fatal(err)
		}
		if err := q.Validate(); err != nil {
			t.Fatal(err)
		}
		if got := q.Match(kept[0]); got != want {
			t.Errorf("%s finds it: %v; it is asked as %s", text, got, query.String(q.Where))
		}
		if strings.Contains(text, "person-") {
			continue
		}
		if back, err := b.ShowQuery(t.Context(), query.String(q.Where)); err != nil || back != query.String(where) {
			t.Errorf("%q is shown as %q, %v", text, back, err)
		}
	}
	where, _ := query.Parse("user:dora")
	q, err := b.AskedFor(t.Context(), query.Query{Where: where})
	if err != nil || !q.Match(hide(t, b, of("dora", "d@e"))[0]) {
		t.Errorf("%s does not find who comes later: %v", query.String(q.Where), err)
	}
}

// TestMany: the memory of persons is bounded, and forgets nobody for good.
func TestMany(t *testing.T) {
	b := opener(t, "")()
	const persons = 2*generation + 100
	var kept []*event.Event
	for from := 0; from < persons; from += 4096 {
		var some []*event.Event
		for n := from; n < min(from+4096, persons); n++ {
			some = append(some, &event.Event{User: &event.User{Subject: fmt.Sprintf("user-%d", n)}})
		}
		kept = append(kept, hide(t, b, some...)...)
	}
	if n := len(b.names.young) + len(b.names.old); n > 2*generation {
		t.Errorf("%d are remembered", n)
	}
	for _, n := range []int{0, 1, generation, persons - 1} {
		if got := show(t, b, kept[n])[0].User.Subject; got != fmt.Sprintf("user-%d", n) {
			t.Errorf("%d is %q", n, got)
		}
	}
}

// FuzzHide: whatever users are called and ask, what is kept is read as it was, and the name does not stand where it would be found.
func FuzzHide(f *testing.F) {
	f.Add("alice", "/users/alice", "a=alice&b=%61lice", "alice is not alice's, (alice) user:alice.", "alice@shop.example")
	f.Add("a/b c", "/a%2Fb%20c", "x=a%2fb+c", "of a/b c.", "x")
	f.Add("...", "/...", "...=...", "... . ...", "person-")
	f.Add(" ..", "/...", "...=...", "... . ... ....", "x") // one pseudonym, a full stop, the next
	b := opener(f, "")()
	f.Fuzz(func(t *testing.T, name, path, asked, text, mail string) {
		e := of(name, mail)
		e.Path, e.Query = path, asked
		e.Trail[0].Reasons[0].Text = text
		if strings.Contains(name+path+asked+text+mail, "person-") { // what looks like a pseudonym may be read as whom it means
			return
		}
		kept := hide(t, b, e)[0]
		if got := show(t, b, kept)[0]; !reflect.DeepEqual(got, e) {
			t.Fatalf("read as\n%+v\n%+v, was\n%+v\n%+v", got, got.User, e, e.User)
		}
		if len(name) < leastQuoted {
			return
		}
		for segment := range strings.SplitSeq(kept.Path, "/") {
			if segment == name {
				t.Fatalf("the path is %s", kept.Path)
			}
		}
		for _, word := range strings.FieldsFunc(kept.Trail[0].Reasons[0].Text, func(r rune) bool { return strings.ContainsRune(blanks, r) }) {
			if word == name {
				t.Fatalf("the text is %s", kept.Trail[0].Reasons[0].Text)
			}
		}
	})
}

// BenchmarkHide is a batch of a fleet's events, as they come to be kept; ns/event is what each costs.
func BenchmarkHide(b *testing.B) {
	for _, batch := range []int{1, 1024} {
		b.Run(fmt.Sprint(batch), func(b *testing.B) {
			book := opener(b, "")()
			f := eventtest.New(11, time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC), time.Second)
			events := f.Take(8192)
			hide(b, book, events...)
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				at := n % (len(events) - batch + 1)
				hide(b, book, events[at:at+batch]...)
				n += batch
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/event")
		})
	}
}

// BenchmarkShow is a page as people read it.
func BenchmarkShow(b *testing.B) {
	book := opener(b, "")()
	kept := hide(b, book, eventtest.New(11, time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC), time.Second).Take(1024)...)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		show(b, book, kept...)
		n += len(kept)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/event")
}
