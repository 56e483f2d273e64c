package policy

import "unicode/utf8"

// skip returns the length of the string literal, comment or single rune that s begins with, and whether it
// is the last of these.
func skip(s string) (n int, plain bool) {
	switch {
	case s[0] == '"':
		for i := 1; i < len(s); i++ {
			switch s[i] {
			case '\\':
				i++
			case '"':
				return i + 1, false
			}
		}
		return len(s), false
	case len(s) > 1 && s[:2] == "//":
		for i := range len(s) {
			if s[i] == '\n' {
				return i, false
			}
		}
		return len(s), false
	case len(s) > 1 && s[:2] == "/*":
		for i := 2; i+1 < len(s); i++ {
			if s[i] == '*' && s[i+1] == '/' {
				return i + 2, false
			}
		}
		return len(s), false
	}
	_, n = utf8.DecodeRuneInString(s)
	return n, true
}

// statementEnd returns the length of the first statement in s, with its semicolon.
func statementEnd(s string) int {
	for i := 0; i < len(s); {
		n, plain := skip(s[i:])
		if plain && s[i] == ';' {
			return i + 1
		}
		i += n
	}
	return len(s)
}

// stripComments returns s without comments and string literals.
func stripComments(s string) string {
	var out []byte
	for i := 0; i < len(s); {
		n, plain := skip(s[i:])
		if plain || s[i] == '"' {
			out = append(out, s[i:i+n]...)
		}
		i += n
	}
	return string(out)
}

// advance moves a place, in lines and characters from 1, over s.
func advance(s string, line, column int) (int, int) {
	for _, r := range s {
		if r == '\n' {
			line, column = line+1, 1
		} else {
			column++
		}
	}
	return line, column
}

// outOfBounds says why a file is not even parsed, or "".
func outOfBounds(text string) string {
	if len(text) > maxFile {
		return "the file is larger than 4 MiB"
	}
	depth := 0
	for i := 0; i < len(text); {
		n, plain := skip(text[i:])
		if plain {
			switch text[i] {
			case '(', '[', '{':
				depth++
			case ')', ']', '}':
				depth--
			case ';':
				depth = 0
			}
			if depth > maxDepth {
				return "brackets are nested more than 64 deep"
			}
		}
		i += n
	}
	return ""
}
