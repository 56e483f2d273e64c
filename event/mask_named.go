package event

import "strings"

// maskNamed hides values after a redacted name: name=value as in queries and forms, "name": value as in
// JSON, Name: value as in a header, to the end of the line.
func (r *Redactor) maskNamed(s string) string {
	p := splice{src: s}
	for i := 0; i < len(s); i++ {
		if s[i] != '=' && s[i] != ':' {
			continue
		}
		name, quoted := nameBefore(s, i)
		if name == "" || !r.has(name) {
			continue
		}
		from := skipBlank(s, i+1)
		if s[i] == ':' && !quoted && from > i+1 && isCommonWord(name) {
			continue // "token: expired" in a sentence
		}
		to := valueEnd(s, from, s[i] == ':' && !quoted)
		if to > from && s[from:to] != Redacted {
			p.cut(from, to)
		}
		i = max(i, to-1)
	}
	return p.String()
}

// nameBefore returns the name that ends before the separator at i, and whether it stood in quotes.
func nameBefore(s string, i int) (string, bool) {
	end := i
	for end > 0 && isBlank(s[end-1]) {
		end--
	}
	quoted := false
	for end > 0 && (s[end-1] == '"' || s[end-1] == '\'' || s[end-1] == '\\' || s[end-1] == ']') {
		quoted = quoted || s[end-1] != ']'
		end--
	}
	start := end
	for start > 0 && (isWordByte(s[start-1]) || s[start-1] == '-' || s[start-1] == '_' || s[start-1] >= 0x80) && end-start <= maxName {
		start--
	}
	return s[start:end], quoted
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

func skipBlank(s string, i int) int {
	for i < len(s) && isBlank(s[i]) {
		i++
	}
	return i
}

// isCommonWord holds for redacted names that sentences use before a colon.
func isCommonWord(name string) bool {
	switch strings.ToLower(name) {
	case "token", "code", "session", "signature", "assertion", "secret", "pin", "bearer", "jwt":
		return true
	}
	return false
}

// valueEnd returns the end of the value that begins at from. What follows it directly after another
// separator belongs to it too: nothing behind a redacted name may be taken for a name.
func valueEnd(s string, from int, line bool) int {
	for {
		to := oneValueEnd(s, from, line)
		next := skipBlank(s, to)
		if next >= len(s) || s[next] != ':' && s[next] != '=' {
			return to
		}
		from = skipBlank(s, next+1)
	}
}

func oneValueEnd(s string, from int, line bool) int {
	if from >= len(s) {
		return from
	}
	switch c := s[from]; {
	case line:
		if n := strings.IndexAny(s[from:], "\r\n"); n >= 0 {
			return from + n
		}
		return len(s)
	case c == '"' || c == '\'':
		return quotedEnd(s, from+1, c)
	case c == '\\' && from+1 < len(s) && (s[from+1] == '"' || s[from+1] == '\''):
		return escapedEnd(s, from+2, s[from+1])
	case c == '{' || c == '[':
		return nestedEnd(s, from)
	}
	if n := strings.IndexAny(s[from:], "&,;}])\"'<> \t\r\n"); n >= 0 {
		return from + n
	}
	return len(s)
}

func quotedEnd(s string, i int, quote byte) int {
	for ; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case quote:
			return i + 1
		}
	}
	return len(s)
}

// escapedEnd ends a value in JSON that is itself quoted in JSON.
func escapedEnd(s string, i int, quote byte) int {
	if n := strings.Index(s[i:], `\`+string(quote)); n >= 0 {
		return i + n + 2
	}
	return len(s)
}

// nestedEnd ends an object or a list.
func nestedEnd(s string, i int) int {
	depth := 0
	for i < len(s) {
		switch s[i] {
		case '"':
			i = quotedEnd(s, i+1, '"')
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
		i++
	}
	return len(s)
}
