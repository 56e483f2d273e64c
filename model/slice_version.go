package model

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
)

// content writes down what values say. It remembers which fields of a struct count, for reflection tells that slowly. The zero value is
// ready, and safe for concurrent use.
type content struct{ structs sync.Map } // reflect.Type to []counted

// counted is a field that counts.
type counted struct {
	at   int
	name string
}

// version is the SHA-256 of a slice without places and names of files, hex: what remains is what the proxy
// does. Paths of files that the proxy itself opens remain too. Policies are given by their digest. Empty fields do
// not count, so that a key this format gains later changes no version by itself.
func (c *content) version(s *Snapshot, policies []byte) string {
	bare := *s
	bare.Version, bare.Policies, bare.Origin = "", nil, nil
	sum := sha256.Sum256(c.appendValue(slices.Clone(policies), reflect.ValueOf(&bare).Elem()))
	return hex.EncodeToString(sum[:])
}

// Content is the SHA-256 of what a snapshot says, hex: its version without places and names of files. Two
// snapshots of the same content do the same.
func (s *Snapshot) Content() string { return new(content).version(s, digestPolicies(s.Policies)) }

// digestPolicies is the SHA-256 of policies by their text and the names of their files without folders.
func digestPolicies(policies []PolicyFile) []byte {
	sum := sha256.New()
	for _, p := range policies {
		fmt.Fprintf(sum, "%q %q\n", filepath.Base(p.Name), p.Text)
	}
	return sum.Sum(nil)
}

// appendValue appends v in a form of its own in which different values are different bytes.
func (c *content) appendValue(b []byte, v reflect.Value) []byte {
	switch v.Kind() { // a snapshot is made of no other kinds; a test holds this
	case reflect.String:
		return append(binary.AppendUvarint(b, uint64(v.Len())), v.String()...)
	case reflect.Bool:
		if v.Bool() {
			return append(b, 1)
		}
		return append(b, 0)
	case reflect.Int, reflect.Int64:
		return binary.AppendVarint(b, v.Int())
	case reflect.Float64:
		return binary.AppendUvarint(b, math.Float64bits(v.Float()))
	case reflect.Pointer:
		return c.appendValue(b, v.Elem())
	case reflect.Slice:
		b = binary.AppendUvarint(b, uint64(v.Len()))
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return append(b, v.Bytes()...)
		}
		for i := range v.Len() {
			b = c.appendValue(b, v.Index(i))
		}
		return b
	case reflect.Map:
		b = binary.AppendUvarint(b, uint64(v.Len()))
		keys := v.MapKeys() // of strings
		slices.SortFunc(keys, func(x, y reflect.Value) int { return strings.Compare(x.String(), y.String()) })
		for _, k := range keys {
			b = c.appendValue(c.appendValue(b, k), v.MapIndex(k))
		}
		return b
	default:
		return c.appendFields(b, v)
	}
}

// appendFields appends the fields of a struct that are not empty, by name.
func (c *content) appendFields(b []byte, v reflect.Value) []byte {
	if p, ok := reflect.TypeAssert[Prefix](v); ok {
		return append(append(b, p.String()...), 0)
	}
	for _, field := range c.counted(v.Type()) {
		f := v.Field(field.at)
		if f.IsZero() || (f.Kind() == reflect.Slice || f.Kind() == reflect.Map) && f.Len() == 0 {
			continue
		}
		b = append(append(b, field.name...), 0)
		b = c.appendValue(b, f)
	}
	return append(b, 0)
}

// counted returns the fields of a struct that count.
func (c *content) counted(t reflect.Type) []counted {
	if known, ok := c.structs.Load(t); ok {
		return known.([]counted) //nolint:forcetypeassert // nothing else is stored
	}
	var out []counted
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Type != reflect.TypeFor[Position]() && (f.Type.Kind() != reflect.String || !besideContent(f.Name)) {
			out = append(out, counted{i, f.Name})
		}
	}
	c.structs.Store(t, out)
	return out
}

// besideContent tells whether a field names a file whose content stands in another field.
func besideContent(name string) bool {
	return slices.Contains([]string{"CA", "JWKSFile", "APIFile"}, name)
}
