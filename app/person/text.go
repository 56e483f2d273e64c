package person

import (
	"net/url"
	"slices"
	"strings"

	"github.com/palisade-security/palisade/keyring"
)

// leastQuoted is how long a name is that is looked for in texts and paths. A shorter one tells nobody, and stands for too much else.
const leastQuoted = 3

// find returns what stands for a name; empty: it is nobody's. Raw is how it stands in the text, which may be percent-encoded.
type find func(name, raw string) string

// in replaces what of the parts between separators find knows.
func in(s string, separator *[256]bool, part func(string) string) string {
	var out strings.Builder
	done := 0 // of s, that is in out
	for at := 0; at < len(s); {
		if separator[s[at]] {
			at++
			continue
		}
		end := at
		for end < len(s) && !separator[s[end]] {
			end++
		}
		if now := part(s[at:end]); now != s[at:end] {
			out.WriteString(s[done:at])
			out.WriteString(now)
			done = end
		}
		at = end
	}
	if done == 0 {
		return s
	}
	out.WriteString(s[done:])
	return out.String()
}

func between(signs string) *[256]bool {
	var out [256]bool
	for i := range len(signs) {
		out[signs[i]] = true
	}
	return &out
}

// Constant tables.
var (
	atBlanks  = between(blanks)
	atJoints  = between(joints)
	atSlashes = between("/")
	atPairs   = between("&;")
	atEquals  = between("=")
)

const (
	blanks = " \t\r\n\v\f\"'`<>()[]{}" // between words
	joints = ":=,;/&?#|@!"             // within a word, between what may be a name
	ending = ".,;:!?"                  // of a word, not part of it
)

// inText replaces names in what people read: a text that is one, what stands in quotes, words, and parts of words between signs that join them.
func inText(s string, known find) string {
	if len(s) < leastQuoted {
		return s
	}
	if now := known(s, s); now != "" {
		return now
	}
	return in(inQuotes(s, known), atBlanks, func(word string) string {
		core := strings.TrimRight(word, ending)
		if len(core) < leastQuoted {
			return word
		}
		if now := known(core, core); now != "" {
			return now + word[len(core):]
		}
		return inWord(word, known)
	})
}

// inQuotes replaces names that stand in quotes and may have blanks, as in queries.
func inQuotes(s string, known find) string {
	if strings.Count(s, `"`) < 2 {
		return s
	}
	pieces := strings.Split(s, `"`)
	for i := 1; i < len(pieces)-1; i++ { // between each two: which of them opens cannot be told
		if len(pieces[i]) >= leastQuoted && strings.ContainsAny(pieces[i], blanks) {
			if now := known(pieces[i], pieces[i]); now != "" {
				pieces[i] = now
			}
		}
	}
	return strings.Join(pieces, `"`)
}

// The bounds of names that have joints, such as mail addresses, behind others.
const (
	mostParts  = 4  // of a name
	mostJoined = 64 // of a word, that are looked for
)

// inWord replaces names between joints, the longest first.
func inWord(word string, known find) string {
	if !strings.ContainsAny(word, joints) {
		return word
	}
	var out strings.Builder
	done, looks := 0, mostJoined
	for at := 0; at < len(word); {
		if atJoints[word[at]] {
			at++
			continue
		}
		ends := endsOfParts(word, at)
		next := ends[0]
		for i, end := range slices.Backward(ends) {
			if i > 0 {
				if looks == 0 {
					continue
				}
				looks--
			}
			core := strings.TrimRight(word[at:end], ending)
			if len(core) < leastQuoted {
				continue
			}
			if now := known(core, core); now != "" {
				out.WriteString(word[done:at])
				out.WriteString(now)
				done, next = at+len(core), end
				break
			}
		}
		at = next
	}
	out.WriteString(word[done:])
	return out.String()
}

// endsOfParts is where the part of a word ends that begins at a place, and the next ones.
func endsOfParts(word string, at int) []int {
	ends := make([]int, 0, mostParts)
	for len(ends) < mostParts && at < len(word) {
		for at < len(word) && !atJoints[word[at]] {
			at++
		}
		ends = append(ends, at)
		for at < len(word) && atJoints[word[at]] {
			at++
		}
	}
	return ends
}

// inPath replaces names that are segments of a path, or parts of one between joints.
func inPath(s string, known find) string {
	return in(s, atSlashes, func(segment string) string { return encoded(segment, url.PathUnescape, known) })
}

// inQuery replaces names that are values of a query, or parts of one between joints.
func inQuery(s string, known find) string {
	return in(s, atPairs, func(pair string) string {
		if key, value, _ := strings.Cut(pair, "="); strings.Contains(value, "=") { // which a name may have, too
			if now, _ := asOne(value, url.QueryUnescape, known); now != "" {
				return key + "=" + now
			}
		}
		return in(pair, atEquals, func(value string) string { return encoded(value, url.QueryUnescape, known) })
	})
}

// inURL replaces names in a URL.
func inURL(s string, known find) string {
	path, query, has := strings.Cut(s, "?")
	path = inPath(path, known)
	if !has {
		return path
	}
	query, fragment, has := strings.Cut(query, "#")
	path += "?" + inQuery(query, known)
	if has {
		path += "#" + inPath(fragment, known)
	}
	return path
}

// mostDecoded is how often what is percent-encoded is decoded: what is refused may be so more than once.
const mostDecoded = 3

// encoded replaces a name that may be percent-encoded.
func encoded(raw string, decode func(string) (string, error), known find) string {
	now, plain := asOne(raw, decode, known)
	if now != "" {
		return now
	}
	if len(plain) == 0 {
		return inWord(raw, known)
	}
	// What is joined shows only when it is decoded, so all of it is under the key of whom it names.
	whose := ""
	for _, name := range plain {
		inText(name, func(part, _ string) string {
			if whose == "" {
				whose = known(part, raw)
			}
			return ""
		})
	}
	if whose != "" {
		return whose
	}
	return inWord(raw, known)
}

// asOne is what stands for a text that is a name, percent-encoded or not; empty: it is none. It returns what the text says when it is decoded, too.
func asOne(raw string, decode func(string) (string, error), known find) (now string, plain []string) {
	if len(raw) < leastQuoted {
		return "", nil
	}
	if now := known(raw, raw); now != "" {
		return now, nil
	}
	plain = decoded(raw, decode)
	for _, name := range plain {
		if now := known(name, raw); now != "" {
			return now, plain
		}
	}
	return "", plain
}

// decoded is what a text says when it is decoded once, twice, and so on. Nothing: it is not encoded.
func decoded(raw string, decode func(string) (string, error)) (out []string) {
	for last := raw; len(out) < mostDecoded && strings.ContainsAny(last, "%+"); {
		now, err := decode(last)
		if err != nil || now == last {
			break
		}
		out, last = append(out, now), now
	}
	return out
}

// bounded replaces a name that has blanks or joints in it, where it stands by itself.
func bounded(s, name, with string) string {
	for at := 0; ; {
		i := strings.Index(s[at:], name)
		if i < 0 {
			return s
		}
		from, to := at+i, at+i+len(name)
		if from > 0 && letter(s[from-1]) || to < len(s) && letter(s[to]) {
			at = to
			continue
		}
		s = s[:from] + with + s[to:]
		at = from + len(with)
	}
}

// letter tells whether a byte may be part of a name.
func letter(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c >= 0x80
}

// shown puts names in place of pseudonyms, and what was sealed in place of what stands for it. What nobody can open stays.
func shown(s string, person func(pseudonym string) *someone) string {
	from, end, to, found := keyring.Pseudonyms(s)
	if !found {
		return s
	}
	var out strings.Builder
	for found {
		out.WriteString(s[:from])
		now, read := meant(s[from:to], end-from, person)
		out.WriteString(now)
		s = s[from+read:]
		from, end, to, found = keyring.Pseudonyms(s)
	}
	out.WriteString(s)
	return out.String()
}

// meant is what a pseudonym, which is so long, and what is behind it stand for, and how much of the token it is: what is not sealed by the person may be the
// begin of another pseudonym.
func meant(token string, length int, person func(string) *someone) (text string, read int) {
	p := person(token[:length])
	if p == nil {
		return token[:length], length
	}
	if len(token) > length {
		if value, err := p.Open(token); err == nil {
			return value, len(token)
		}
	}
	return p.name, length
}
