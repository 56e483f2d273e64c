package event

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Attributes are what policies can read of a user beside his name and roles, as they were when the request was decided, so
// that the decision can be made again under other policies.
type Attributes struct {
	Scopes   []string
	ACR      string // authentication context class
	AMR      []string
	AuthTime time.Time // zero: not told
	Claims   []Claim   // those that some policy of the snapshot reads; no others are recorded
	Cut      []string  // what was too long to be recorded: "scopes", "acr", "amr", "claims.NAME"
}

// Claim is a claim of a verified token.
type Claim struct {
	Name  string
	Value any // string, int64, bool or []string; nil: the token does not have it
}

// The bounds of what is recorded of one user.
const (
	maxAttributes     = 32   // entries of a list, and claims
	maxAttributeBytes = 1024 // of a text, or of all texts of a list
)

// Bound takes out what is longer than a record may be and names it in Cut. It changes no list that it was given.
func (a *Attributes) Bound() {
	a.Cut = nil
	if tooLong(a.Scopes) {
		a.Scopes, a.Cut = nil, append(a.Cut, "scopes")
	}
	if len(a.ACR) > maxAttributeBytes {
		a.ACR, a.Cut = "", append(a.Cut, "acr")
	}
	if tooLong(a.AMR) {
		a.AMR, a.Cut = nil, append(a.Cut, "amr")
	}
	if !slices.ContainsFunc(a.Claims, Claim.tooLong) && len(a.Claims) <= maxAttributes {
		return
	}
	var kept []Claim
	for _, c := range a.Claims {
		switch {
		case len(kept) < maxAttributes && !c.tooLong():
			kept = append(kept, c)
		case len(a.Cut) < maxAttributes:
			a.Cut = append(a.Cut, "claims."+c.Name)
		}
	}
	a.Claims = kept
}

func (c Claim) tooLong() bool {
	switch v := c.Value.(type) {
	case string:
		return len(v) > maxAttributeBytes
	case []string:
		return tooLong(v)
	}
	return false
}

func tooLong(list []string) bool {
	n := 0
	for _, s := range list {
		n += len(s)
	}
	return len(list) > maxAttributes || n > maxAttributeBytes
}

// AppendAttributes appends a as it stands in AppendJSON's output.
func AppendAttributes(dst []byte, a *Attributes) []byte {
	o := &object{dst: dst}
	o.attributes(a)
	return o.dst[:len(o.dst)-1]
}

func (o *object) attributes(a *Attributes) {
	o.open()
	o.strings(`"scopes":`, a.Scopes)
	o.str(`"acr":"`, a.ACR)
	o.strings(`"amr":`, a.AMR)
	if !a.AuthTime.IsZero() {
		o.dst = append(a.AuthTime.UTC().AppendFormat(append(o.dst, `"auth_time":"`...), time.RFC3339Nano), `",`...)
	}
	if len(a.Claims) > 0 {
		o.list(`"claims":`)
		for i := range a.Claims {
			o.claim(&a.Claims[i])
		}
		o.endList()
	}
	o.strings(`"cut":`, a.Cut)
	o.close()
}

func (o *object) claim(c *Claim) {
	o.open()
	o.must(`"name":"`, c.Name)
	switch v := c.Value.(type) {
	case string:
		o.must(`"value":"`, v)
	case int64:
		o.exact(`"value":`, v)
	case bool:
		if v {
			o.raw(`"value":true`)
		} else {
			o.raw(`"value":false`)
		}
	case []string:
		o.list(`"value":`)
		for _, s := range v {
			o.must(`"`, s)
		}
		o.endList()
	}
	o.close()
}

// strings writes a list of texts, unless it is empty.
func (o *object) strings(name string, list []string) {
	if len(list) == 0 {
		return
	}
	o.list(name)
	for _, s := range list {
		o.must(`"`, s)
	}
	o.endList()
}

// UnmarshalJSON reads what AppendAttributes writes.
func (a *Attributes) UnmarshalJSON(b []byte) error {
	var w struct {
		Scopes   []string  `json:"scopes"`
		ACR      string    `json:"acr"`
		AMR      []string  `json:"amr"`
		AuthTime time.Time `json:"auth_time"`
		Claims   []struct {
			Name  string          `json:"name"`
			Value json.RawMessage `json:"value"`
		} `json:"claims"`
		Cut []string `json:"cut"`
	}
	if err := json.Unmarshal(b, &w); err != nil {
		return fmt.Errorf("reading the attributes of a user: %w", err)
	}
	*a = Attributes{Scopes: w.Scopes, ACR: w.ACR, AMR: w.AMR, AuthTime: w.AuthTime, Cut: w.Cut}
	for _, c := range w.Claims {
		value, err := claimValue(c.Value)
		if err != nil {
			return fmt.Errorf("reading claim %q: %w", c.Name, err)
		}
		a.Claims = append(a.Claims, Claim{c.Name, value})
	}
	return nil
}

func claimValue(b json.RawMessage) (any, error) {
	b = bytes.TrimSpace(b)
	if len(b) == 0 || b[0] == 'n' {
		return nil, nil
	}
	switch b[0] {
	case '"':
		return valueOf[string](b)
	case '[':
		return valueOf[[]string](b)
	case 't', 'f':
		return valueOf[bool](b)
	}
	return valueOf[int64](b)
}

func valueOf[T any](b []byte) (any, error) {
	var v T
	err := json.Unmarshal(b, &v)
	return v, err
}

// redacted returns a with the secrets in its claims taken out, a itself if there are none. Scopes and methods are words of the
// issuer, as roles are.
func (a *Attributes) redacted(r *Redactor) *Attributes {
	if a == nil {
		return nil
	}
	out := a
	for i, c := range a.Claims {
		clean := r.claim(c)
		if clean == nil {
			continue
		}
		if out == a {
			b := *a
			b.Claims, out = slices.Clone(a.Claims), &b
		}
		out.Claims[i].Value = clean
	}
	return out
}

// claim returns what stands for the value of c, nil if it can stay.
func (r *Redactor) claim(c Claim) any {
	if c.Value == nil {
		return nil
	}
	if r.Name(c.Name) {
		return Redacted
	}
	switch v := c.Value.(type) {
	case string:
		if clean := r.encoded(v); clean != v {
			return clean
		}
	case []string:
		if slices.ContainsFunc(v, func(s string) bool { return r.encoded(s) != s }) {
			return Redacted
		}
	}
	return nil
}
