package model

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"path/filepath"
	"reflect"
	"slices"
)

// versionOf is the SHA-256 of the snapshot's JSON without a version. Paths count as seen from root, the folder
// of the model's first file, so that the same files have the same version wherever they lie and however they
// were named.
func versionOf(s *Snapshot, root string) (string, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return "", err //nolint:wrapcheck // the caller tells
	}
	var rest Snapshot
	if err := json.Unmarshal(text, &rest); err != nil {
		return "", err //nolint:wrapcheck // the caller tells
	}
	rest.Version = ""
	for i := range rest.Policies {
		rest.Policies[i].Name = relative(root, rest.Policies[i].Name)
	}
	relocate(reflect.ValueOf(&rest).Elem(), root)
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

// relocate rewrites every place and every path in v as seen from root.
func relocate(v reflect.Value, root string) {
	if p, ok := reflect.TypeAssert[Position](v); ok {
		p.File = relative(root, p.File)
		v.Set(reflect.ValueOf(p))
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			relocate(v.Elem(), root)
		}
	case reflect.Struct:
		for field, f := range v.Fields() {
			switch {
			case !f.CanSet():
			case f.Kind() == reflect.String && holdsPath(field.Name):
				f.SetString(relative(root, f.String()))
			default:
				relocate(f, root)
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return
		}
		for i := range v.Len() {
			relocate(v.Index(i), root)
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			value := reflect.New(v.Type().Elem()).Elem()
			value.Set(it.Value())
			relocate(value, root)
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
