package event

import (
	"hash/maphash"
	"maps"
	"slices"
	"strings"
)

// Redacted stands in place of what was taken out.
const Redacted = "[redacted]"

// builtinNames are redacted whatever the model says: names under which credentials travel (RFC 6265,
// RFC 6749, RFC 7521, RFC 8693, RFC 9110 section 11).
const builtinNames = `authorization proxy-authorization cookie set-cookie x-api-key api-key x-auth-token
x-access-token x-csrf-token x-amz-security-token x-forwarded-authorization dpop
access_token refresh_token id_token token subject_token actor_token session_token auth_token bearer
password passwd pwd passphrase new_password old_password current_password confirm_password
secret client_secret code code_verifier assertion client_assertion saml_response saml_request
private_key signature otp totp pin cvv cvc session sessionid session_id jsessionid phpsessid sid jwt
x-goog-signature x-amz-signature x-amz-credential`

// Redactor takes secrets out of what is recorded. It is safe for concurrent use.
type Redactor struct {
	names  map[string]struct{} // folded; it does not change
	common memo
}

// NewRedactor makes a redactor for the names of parameters, headers and JSON fields in names, and for the
// names that always are redacted. Case, '-' and '_' make no difference in a name.
func NewRedactor(names []string) *Redactor {
	r := &Redactor{names: make(map[string]struct{}), common: memo{seed: maphash.MakeSeed()}}
	for n := range strings.FieldsSeq(builtinNames) {
		r.names[fold(n)] = struct{}{}
	}
	for _, n := range names {
		if f := fold(n); f != "" {
			r.names[f] = struct{}{}
		}
	}
	return r
}

// Name reports whether what goes by this name is redacted. Of a compound name (user[password],
// login.password) each part counts.
func (r *Redactor) Name(name string) bool {
	if r.has(name) {
		return true
	}
	for part := range strings.FieldsFuncSeq(name, notInName) {
		if len(part) != len(name) && r.has(part) {
			return true
		}
	}
	return false
}

func (r *Redactor) has(name string) bool {
	if len(name) > maxName {
		_, ok := r.names[fold(name)]
		return ok
	}
	var room [maxName]byte
	_, ok := r.names[string(appendFolded(room[:0], name))]
	return ok
}

// maxName is the length of a name that is looked for in text, in bytes. Longer ones count where it is known
// what is a name: in queries, headers and data.
const maxName = 64

func notInName(c rune) bool {
	return c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c < 0x80
}

func fold(name string) string { return string(appendFolded(nil, name)) }

func appendFolded(dst []byte, name string) []byte {
	for i := range len(name) {
		switch c := name[i]; {
		case c == '-' || c == '_':
		case 'A' <= c && c <= 'Z':
			dst = append(dst, c+'a'-'A')
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// Query redacts a raw query: the values of redacted names, however the names are percent-encoded, and
// secrets in the other values.
func (r *Redactor) Query(raw string) string {
	var out strings.Builder
	copied := 0
	for at := 0; at <= len(raw); {
		end := len(raw)
		if n := strings.IndexByte(raw[at:], '&'); n >= 0 {
			end = at + n
		}
		if pair := raw[at:end]; pair != "" {
			if clean := r.pair(pair); clean != pair {
				out.WriteString(raw[copied:at])
				out.WriteString(clean)
				copied = end
			}
		}
		at = end + 1
	}
	if copied == 0 {
		return raw
	}
	out.WriteString(raw[copied:])
	return out.String()
}

func (r *Redactor) pair(pair string) string {
	name, value, ok := strings.Cut(pair, "=")
	if !ok {
		return r.encoded(pair)
	}
	if r.Name(unescape(name)) {
		if value == "" {
			return pair
		}
		return r.encoded(name) + "=" + Redacted
	}
	cleanName, cleanValue := r.encoded(name), r.encoded(value)
	if cleanName == name && cleanValue == value {
		return r.Text(pair)
	}
	return cleanName + "=" + cleanValue
}

// encoded redacts text that may be percent-encoded. If the secret shows only when decoded, all of it goes.
func (r *Redactor) encoded(s string) string {
	seen := look(s)
	if seen&percent != 0 {
		if plain := unescape(s); r.Text(plain) != plain {
			return Redacted
		}
	}
	return r.text(s, seen)
}

// unescape decodes percent-encoding as far as it goes, up to three times over: the record must be clean
// also for a request that was refused for encoding twice. What is no valid escape stays as it is.
func unescape(s string) string {
	for range 3 {
		if !strings.ContainsAny(s, "%+") {
			break
		}
		b := make([]byte, 0, len(s))
		for i := 0; i < len(s); i++ {
			switch {
			case s[i] == '+':
				b = append(b, ' ')
			case s[i] == '%' && i+2 < len(s) && hexValue(s[i+1]) >= 0 && hexValue(s[i+2]) >= 0:
				b = append(b, byte(hexValue(s[i+1])<<4|hexValue(s[i+2])))
				i += 2
			default:
				b = append(b, s[i])
			}
		}
		if string(b) == s {
			break
		}
		s = string(b)
	}
	return s
}

func hexValue(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// Header redacts the value of a header.
func (r *Redactor) Header(name, value string) string {
	switch {
	case value == "":
		return value
	case r.Name(name):
		return Redacted
	case strings.EqualFold(name, "Referer") || strings.EqualFold(name, "Location") || strings.EqualFold(name, "Content-Location"):
		return r.URL(value)
	}
	return r.encoded(value)
}

// URL redacts a reference: its user information, its path as text, its query and its fragment as queries.
func (r *Redactor) URL(ref string) string {
	if strings.IndexByte(ref, '?') < 0 && strings.IndexByte(ref, '#') < 0 {
		return r.encoded(ref)
	}
	rest, fragment, hasFragment := strings.Cut(ref, "#")
	path, query, hasQuery := strings.Cut(rest, "?")
	out := r.encoded(path)
	if hasQuery {
		out += "?" + r.Query(query)
	}
	if hasFragment {
		out += "#" + r.Query(fragment)
	}
	return out
}

// Redact takes secrets out of everything in e that came from outside or may quote it. Slices and maps that
// change are copied: reasons may be shared.
func (e *Event) Redact(r *Redactor) {
	for _, f := range []*string{&e.Method, &e.Host, &e.Path, &e.TLSServer, &e.Route, &e.Template} {
		*f = r.encoded(*f)
	}
	e.UserAgent = r.common.encoded(r, e.UserAgent)
	e.Query = r.Query(e.Query)
	e.Referer = r.URL(e.Referer)
	e.Headers = r.headers(e.Headers)
	e.Trail = r.trail(e.Trail)
	if e.User != nil {
		if a := e.User.Attributes.redacted(r); a != e.User.Attributes {
			u := *e.User
			u.Attributes, e.User = a, &u
		}
	}
	if e.Log != nil {
		e.Log = e.Log.redact(r)
	}
	if e.Act != nil {
		a := *e.Act
		for _, f := range []*string{&a.Who, &a.Object, &a.Text} {
			*f = r.encoded(*f)
		}
		e.Act = &a
	}
}

func (r *Redactor) headers(headers []Header) []Header {
	copied := false
	for i, h := range headers {
		value := r.Header(h.Name, h.Value)
		if value == h.Value {
			continue
		}
		if !copied {
			headers, copied = slices.Clone(headers), true
		}
		headers[i].Value = value
	}
	return headers
}

func (r *Redactor) trail(stages []Stage) []Stage {
	copied := false
	for i := range stages {
		reasons, changed := r.reasons(stages[i].Reasons)
		if !changed {
			continue
		}
		if !copied {
			stages, copied = slices.Clone(stages), true
		}
		stages[i].Reasons = reasons
	}
	return stages
}

func (r *Redactor) reasons(reasons []Reason) ([]Reason, bool) {
	copied := false
	for i := range reasons {
		clean := reasons[i]
		clean.Text = r.common.encoded(r, clean.Text)
		data, changed := r.data(clean.Data)
		clean.Data = data
		if !changed && clean.Text == reasons[i].Text {
			continue
		}
		if !copied {
			reasons, copied = slices.Clone(reasons), true
		}
		reasons[i] = clean
	}
	return reasons, copied
}

// data redacts a reason's data. If one entry names where something was found (ARGS:password, header
// Cookie) and that name is redacted, then every entry that may hold what was found goes too.
func (r *Redactor) data(data map[string]string) (map[string]string, bool) {
	named := false
	for k, v := range data {
		named = named || !holdsValue(k) && len(v) <= 2*maxName && r.Name(v)
	}
	var clean map[string]string
	for k, v := range data {
		to := r.encoded(v)
		if v != "" && (r.Name(k) || named && holdsValue(k)) {
			to = Redacted
		}
		if to == v {
			continue
		}
		if clean == nil {
			clean = maps.Clone(data)
		}
		clean[k] = to
	}
	if clean == nil {
		return data, false
	}
	return clean, true
}

// holdsValue reports whether an entry of a reason's data quotes the request.
func holdsValue(key string) bool {
	switch key {
	case "value", "data", "match", "matched", "payload", "got", "found":
		return true
	}
	return false
}
