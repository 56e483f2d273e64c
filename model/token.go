package model

import (
	"github.com/goccy/go-yaml/token"
)

// joinPlain mends how the lexer reads a colon in a list within braces: in {scopes: [orders:read]} the item is one
// plain scalar (YAML 1.2.2, section 7.3.3), not a pair. It returns the tokens of text with such scalars whole.
func joinPlain(tokens token.Tokens) token.Tokens {
	out := make(token.Tokens, 0, len(tokens))
	var open []token.Type
	for i := 0; i < len(tokens); i++ {
		t := tokens[i]
		open = follow(open, t)
		inList := len(open) > 0 && open[len(open)-1] == token.SequenceStartType
		if inList && len(out) > 0 && i+1 < len(tokens) && glued(out[len(out)-1], t, tokens[i+1]) {
			out[len(out)-1] = whole(out[len(out)-1], tokens[i+1])
			i++
			continue
		}
		out.Add(t)
	}
	return out
}

// follow keeps the brackets that are open at t.
func follow(open []token.Type, t *token.Token) []token.Type {
	switch t.Type { //nolint:exhaustive // only brackets count
	case token.MappingStartType, token.SequenceStartType:
		return append(open, t.Type)
	case token.MappingEndType, token.SequenceEndType:
		return open[:max(0, len(open)-1)]
	}
	return open
}

// glued tells whether a colon stands between two plain scalars without any space.
func glued(before, colon, after *token.Token) bool {
	return colon.Type == token.MappingValueType && plain(before) && plain(after) &&
		before.Position.Line == colon.Position.Line && after.Position.Line == colon.Position.Line &&
		before.Position.Column+len([]rune(before.Value)) == colon.Position.Column && after.Position.Column == colon.Position.Column+1
}

func plain(t *token.Token) bool {
	switch t.Type { //nolint:exhaustive // every other token is no plain scalar
	case token.StringType, token.IntegerType, token.FloatType, token.BoolType, token.NullType, token.HexIntegerType, token.OctetIntegerType, token.BinaryIntegerType:
		return t.Position != nil
	}
	return false
}

func whole(before, after *token.Token) *token.Token {
	t := token.String(before.Value+":"+after.Value, before.Origin+":"+after.Origin, before.Position)
	t.Prev = before.Prev
	if t.Prev != nil {
		t.Prev.Next = t
	}
	return t
}
