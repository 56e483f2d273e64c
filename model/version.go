package model

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
)

// Errors of a snapshot that comes from outside.
var (
	ErrEdited      = errors.New("it was changed after palisade snapshot wrote it, or another build wrote it; write it again")
	ErrNoOrigin    = errors.New("it does not say where it was compiled, so that nobody can tell whether it was changed since; palisade snapshot of this build writes one that does")
	ErrDevelopment = errors.New("the model was compiled for development, where development providers are honoured; write it with palisade snapshot --production")
)

// Verify holds what a snapshot says against its version, as whoever takes one from outside must. The error is ErrEdited or
// ErrNoOrigin, with words around it. A slice does not verify; it comes in a signed statement.
func (s *Snapshot) Verify() error {
	if s.Origin == nil {
		return ErrNoOrigin
	}
	version, err := versionOf(s)
	if err != nil {
		return fmt.Errorf("hashing the content: %w", err)
	}
	if version != s.Version {
		return fmt.Errorf("the content is not that of version %q: %w", s.Version, ErrEdited)
	}
	return nil
}

// name gives a snapshot the version of what it says.
func (s *Snapshot) name(d *Declared) error {
	dir, err := os.Getwd()
	if err != nil {
		return fmt.Errorf("finding the working directory: %w", err)
	}
	s.Origin = &Origin{Root: filepath.Dir(d.files[0]), Dir: dir}
	if s.Version, err = versionOf(s); err != nil {
		return fmt.Errorf("writing it as JSON: %w", err)
	}
	return nil
}

// versionOf is the SHA-256 of the snapshot's JSON without a version and an origin. Paths count as seen from the folder
// of the model's first file, so that the same files have the same version wherever they lie and however they
// were named.
func versionOf(s *Snapshot) (string, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return "", err //nolint:wrapcheck // the caller tells
	}
	var rest Snapshot
	if err := json.Unmarshal(text, &rest); err != nil {
		return "", err //nolint:wrapcheck // the caller tells
	}
	rest.Version, rest.Origin = "", nil
	for i := range rest.Policies {
		rest.Policies[i].Name = s.Origin.relative(rest.Policies[i].Name)
	}
	s.Origin.relocate(reflect.ValueOf(&rest).Elem())
	if text, err = json.Marshal(rest); err != nil {
		return "", err //nolint:wrapcheck // the caller tells
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// holdsPath tells by its name whether a text field is the path of a file or folder.
func holdsPath(name string) bool {
	return slices.Contains([]string{"Cert", "Key", "Dir", "CA", "JWKSFile", "FromFile", "APIFile"}, name)
}

// relocate rewrites every place and every path in v as seen from the root.
func (o *Origin) relocate(v reflect.Value) {
	if p, ok := reflect.TypeAssert[Position](v); ok {
		p.File = o.relative(p.File)
		v.Set(reflect.ValueOf(p))
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			o.relocate(v.Elem())
		}
	case reflect.Struct:
		for field, f := range v.Fields() {
			switch {
			case !f.CanSet():
			case f.Kind() == reflect.String && holdsPath(field.Name):
				f.SetString(o.relative(f.String()))
			default:
				o.relocate(f)
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return
		}
		for i := range v.Len() {
			o.relocate(v.Index(i))
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			value := reflect.New(v.Type().Elem()).Elem()
			value.Set(it.Value())
			o.relocate(value)
			v.SetMapIndex(it.Key(), value)
		}
	default: // nothing else holds a path
	}
}

// relative is path as seen from the root, with forward slashes; what has no such form stays.
func (o *Origin) relative(path string) string {
	if path == "" {
		return ""
	}
	absolute := path
	if !filepath.IsAbs(path) {
		absolute = filepath.Join(o.Dir, path)
	}
	rel, err := filepath.Rel(o.Root, absolute)
	if err != nil {
		return path
	}
	return filepath.ToSlash(rel)
}
