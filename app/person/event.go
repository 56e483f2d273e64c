package person

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/palisade-security/palisade/event"
)

// hands are what is done to the texts of an event that can name a person, by where they stand.
type hands struct {
	name  func(string) string // of the user, whole
	who   func(string) string // who did an act
	value func(string) string // what leads to the user and nobody else
	claim func(any) any
	text  func(string) string
	path  func(string) string
	query func(string) string
	url   func(string) string
}

// through returns an event with what hands make of its texts: another one, which shares with the first what is the same. Addresses, names of services,
// roles of the model, positions in files and the like name no user of the fleet.
func through(e *event.Event, do *hands) *event.Event {
	out := *e
	out.Path, out.Query, out.Referer = do.path(e.Path), do.query(e.Query), do.url(e.Referer)
	out.Headers = headers(e.Headers, do)
	out.Trail = trail(e.Trail, do)
	if e.User != nil {
		out.User = user(e.User, do)
	}
	if e.Act != nil {
		a := *e.Act
		a.Who, a.Object, a.Text = do.who(a.Who), do.text(a.Object), do.text(a.Text)
		out.Act = &a
	}
	if e.Log != nil {
		l := *e.Log
		l.Text, l.Attributes = do.text(l.Text), members(l.Attributes, do.text)
		out.Log = &l
	}
	return &out
}

func user(u *event.User, do *hands) *event.User {
	out := *u
	out.Subject, out.TokenID = do.name(u.Subject), do.value(u.TokenID)
	out.Roles = list(u.Roles, do.text)
	if u.Attributes == nil {
		return &out
	}
	a := *u.Attributes
	a.Claims = slices.Clone(a.Claims)
	for i := range a.Claims {
		a.Claims[i].Value = do.claim(a.Claims[i].Value)
	}
	out.Attributes = &a
	return &out
}

func headers(all []event.Header, do *hands) []event.Header {
	for i := range all {
		if now := do.text(all[i].Value); now != all[i].Value {
			all = slices.Clone(all)
			for ; i < len(all); i++ {
				all[i].Value = do.text(all[i].Value)
			}
			return all
		}
	}
	return all
}

func trail(stages []event.Stage, do *hands) []event.Stage {
	copied := false
	for i := range stages {
		some, changed := reasons(stages[i].Reasons, do)
		if !changed {
			continue
		}
		if !copied {
			stages, copied = slices.Clone(stages), true
		}
		stages[i].Reasons = some
	}
	return stages
}

func reasons(all []event.Reason, do *hands) (out []event.Reason, changed bool) {
	for i := range all {
		r := all[i]
		text, data := do.text(r.Text), members(r.Data, do.text)
		if text == r.Text && maps.Equal(data, r.Data) {
			continue
		}
		if !changed {
			all, changed = slices.Clone(all), true
		}
		all[i].Text, all[i].Data = text, data
	}
	return all, changed
}

// members are texts by name with other values.
func members(all map[string]string, do func(string) string) map[string]string {
	copied := false
	for name, was := range all {
		now := do(was)
		if now == was {
			continue
		}
		if !copied {
			all, copied = maps.Clone(all), true
		}
		all[name] = now
	}
	return all
}

func list(all []string, do func(string) string) []string {
	for i := range all {
		if do(all[i]) != all[i] {
			all = slices.Clone(all)
			for ; i < len(all); i++ {
				all[i] = do(all[i])
			}
			break
		}
	}
	return all
}

// What a sealed claim was, before its value.
const (
	claimText   = "t"
	claimNumber = "n"
)

// numberOf is what was sealed of a claim that is a number.
func sealedNumber(n int64) string { return claimNumber + strconv.FormatInt(n, 10) }

// claimOf reads what was sealed of a claim.
func claimOf(sealed string) (any, bool) {
	if text, ok := strings.CutPrefix(sealed, claimText); ok {
		return text, true
	}
	digits, ok := strings.CutPrefix(sealed, claimNumber)
	n, err := strconv.ParseInt(digits, 10, 64)
	return n, ok && err == nil
}

// naming are claims that name a person (OpenID Connect Core 1.0, section 5.1, and what others call the same): what they say is looked for in the rest of
// the event, too.
const naming = " name given_name family_name middle_name nickname preferred_username email phone_number upn unique_name login username user_name mail "

// quoted tells whether the value of a claim is looked for elsewhere.
func quoted(name, value string) bool {
	return len(value) >= leastQuoted && value != event.Redacted && (strings.Contains(naming, " "+name+" ") || strings.Contains(value, "@"))
}
