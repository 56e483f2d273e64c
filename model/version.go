package model

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
)

// versionOf is the SHA-256 of the snapshot's JSON without a version. Paths count as seen from root, the folder
// of the model's first file, so that the same files have the same version wherever they lie and however they
// were named.
func versionOf(s *Snapshot, root string) (string, error) {
	rest, err := clone(s)
	if err != nil {
		return "", err
	}
	rest.Version = ""
	for i := range rest.Policies {
		rest.Policies[i].Name = relative(root, rest.Policies[i].Name)
	}
	rewrite(reflect.ValueOf(rest).Elem(), rewriter{
		place: func(p Position) Position {
			return Position{File: relative(root, p.File), Line: p.Line, Column: p.Column}
		},
		path: func(_, path string) string { return relative(root, path) },
	})
	text, err := json.Marshal(rest)
	if err != nil {
		return "", err //nolint:wrapcheck // the caller tells
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// holdsPath tells by its name whether a text field is the path of a file or folder.
func holdsPath(name string) bool {
	return slices.Contains([]string{"Cert", "Key", "Dir", "CA", "JWKSFile", "FromFile", "APIFile"}, name)
}

// sliceVersion is the SHA-256 of a slice without its version, places and names of files, hex: what remains is
// what the proxy does. Files that the proxy itself opens stay named. Policies are given by their digest.
func sliceVersion(s *Snapshot, policies []byte) string {
	sum := sha256.New()
	sum.Write(policies)
	bare := *s
	bare.Policies = nil
	if rest, err := clone(&bare); err == nil {
		rest.Version = ""
		rewrite(reflect.ValueOf(rest).Elem(), rewriter{
			place: func(Position) Position { return Position{} },
			path: func(field, path string) string {
				if slices.Contains([]string{"CA", "JWKSFile", "APIFile"}, field) {
					return "" // their content stands beside them
				}
				return path
			},
		})
		err = json.NewEncoder(sum).Encode(rest)
		if err == nil {
			return hex.EncodeToString(sum.Sum(nil))
		}
	}
	// Out of reach, for the whole was written as JSON before. Should it ever happen, a slice changes with the whole.
	sum.Write([]byte(s.Version))
	return hex.EncodeToString(sum.Sum(nil))
}

// clone copies a snapshot as it travels.
func clone(s *Snapshot) (*Snapshot, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return nil, err //nolint:wrapcheck // the caller tells
	}
	var out Snapshot
	return &out, json.Unmarshal(text, &out) //nolint:wrapcheck // the caller tells
}

// digestPolicies is the SHA-256 of policies by their text and the names of their files without folders.
func digestPolicies(policies []PolicyFile) []byte {
	sum := sha256.New()
	for _, p := range policies {
		fmt.Fprintf(sum, "%q %q\n", filepath.Base(p.Name), p.Text)
	}
	return sum.Sum(nil)
}

// rewriter changes places, and paths by the name of their field.
type rewriter struct {
	place func(Position) Position
	path  func(field, path string) string
}

// rewrite changes every place and every path in v.
func rewrite(v reflect.Value, with rewriter) {
	if p, ok := reflect.TypeAssert[Position](v); ok {
		v.Set(reflect.ValueOf(with.place(p)))
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			rewrite(v.Elem(), with)
		}
	case reflect.Struct:
		for field, f := range v.Fields() {
			switch {
			case !f.CanSet():
			case f.Kind() == reflect.String && holdsPath(field.Name):
				f.SetString(with.path(field.Name, f.String()))
			default:
				rewrite(f, with)
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return
		}
		for i := range v.Len() {
			rewrite(v.Index(i), with)
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			value := reflect.New(v.Type().Elem()).Elem()
			value.Set(it.Value())
			rewrite(value, with)
			v.SetMapIndex(it.Key(), value)
		}
	default: // nothing else holds a path
	}
}

// relative is path as seen from root, with forward slashes; what has no such form stays.
func relative(root, path string) string {
	if path == "" {
		return ""
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	rel, err := filepath.Rel(root, absolute)
	if err != nil {
		return path
	}
	return filepath.ToSlash(rel)
}
