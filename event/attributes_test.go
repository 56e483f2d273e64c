package event_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/event"
)

// TestAttributesReturn holds that what policies read comes back from a record with its types.
func TestAttributesReturn(t *testing.T) {
	e := full()
	back, err := event.Parse(event.AppendJSON(nil, e))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(back.User, e.User) {
		t.Errorf("got  %+v\nwant %+v", back.User.Attributes, e.User.Attributes)
	}
	var a event.Attributes
	if err := json.Unmarshal(event.AppendAttributes(nil, e.User.Attributes), &a); err != nil || !reflect.DeepEqual(&a, e.User.Attributes) {
		t.Errorf("got %+v, %v", a, err)
	}
}

func TestAttributesAreBounded(t *testing.T) {
	long := strings.Repeat("x", 2000)
	scopes := []string{long}
	a := event.Attributes{
		Scopes: scopes, ACR: long, AMR: make([]string, 100),
		Claims: []event.Claim{{Name: "long", Value: long}, {Name: "list", Value: []string{long}}, {Name: "short", Value: "x"}},
	}
	for range 100 {
		a.Claims = append(a.Claims, event.Claim{Name: "n", Value: int64(1)})
	}
	given := a.Claims
	a.Bound()
	if len(a.Scopes) != 0 || a.ACR != "" || len(a.AMR) != 0 || len(a.Claims) != 32 || a.Claims[0].Name != "short" {
		t.Errorf("kept %+v", a)
	}
	if len(a.Cut) != 32 || strings.Join(a.Cut[:5], " ") != "scopes acr amr claims.long claims.list" {
		t.Errorf("cut %q", a.Cut)
	}
	if given[0].Name != "long" || scopes[0] != long {
		t.Error("what was given is changed")
	}
	if line := event.AppendAttributes(nil, &a); len(line) > 8<<10 {
		t.Errorf("%d bytes", len(line))
	}
}

func TestClaimsAreRedacted(t *testing.T) {
	r := event.NewRedactor([]string{"iban"})
	for _, c := range []struct {
		name        string
		value, want any
	}{
		{"iban", "DE00", event.Redacted},
		{"iban", int64(7), event.Redacted},
		{"iban", nil, nil},
		{"tenant", "blue", "blue"},
		{"tenant", true, true},
		{"note", "card 4111111111111111", "card " + event.Redacted},
		{"notes", []string{"a", jwt}, event.Redacted},
		{"notes", []string{"a", "b"}, []string{"a", "b"}},
	} {
		a := &event.Attributes{Claims: []event.Claim{{Name: c.name, Value: c.value}}}
		e := &event.Event{User: &event.User{Attributes: a}}
		e.Redact(r)
		if got := e.User.Attributes.Claims[0].Value; !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s=%v became %v", c.name, c.value, got)
		}
		if !reflect.DeepEqual(a.Claims[0].Value, c.value) {
			t.Errorf("%s=%v was changed for others, too", c.name, c.value)
		}
	}
}

func TestWrongAttributes(t *testing.T) {
	for _, text := range []string{`{"claims":[{"name":"a","value":1.5}]}`, `{"claims":[{"value":{}}]}`, `{"claims":[{"value":[1]}]}`, `{"auth_time":"x"}`, `[]`} {
		if err := json.Unmarshal([]byte(text), &event.Attributes{}); err == nil {
			t.Errorf("%s is taken", text)
		}
	}
}
