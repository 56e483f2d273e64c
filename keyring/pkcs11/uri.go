// Package pkcs11 signs with keys that never leave a PKCS#11 token (a hardware security module, a smart card).
// It stands beside the key ring and gives the same signers. A device needs its vendor's C library, so that only
// a build with cgo and the tag pkcs11 has it; every other build says so when asked, and stays free of cgo.
package pkcs11

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
)

// ErrNotBuilt tells that this binary was built without PKCS#11.
var ErrNotBuilt = errors.New("this binary has no PKCS#11: it was built without cgo and the tag pkcs11")

// Keys are the signing keys of one token: ECDSA on P-256, made inside it, not extractable. A key's name is its
// label (CKA_LABEL). It is safe for concurrent use. Two processes that make a key of one name at the same time
// make two: the next Lookup reports it.
type Keys interface {
	// Signer returns the key of a name and makes it if there is none.
	Signer(ctx context.Context, name string) (crypto.Signer, error)
	// Lookup returns the key of a name. The error wraps fs.ErrNotExist if there is none.
	Lookup(ctx context.Context, name string) (crypto.Signer, error)
	// Remove destroys the key of a name; that there is none is no error.
	Remove(ctx context.Context, name string) error
	// Close logs out and ends all sessions.
	Close() error
}

// URI is what a PKCS#11 URI (RFC 7512) says of a token and how to reach it.
type URI struct {
	Token, Serial string // at least one is set
	ModulePath    string // absolute path of the vendor's library
	PINSource     string // absolute path of the file that holds the PIN
}

// ParseURI reads a PKCS#11 URI as far as it names a token:
//
//	pkcs11:token=palisade?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/run/palisade/pin
//
// Attributes that it does not know are errors; a PIN in the URI itself (pin-value) is refused.
func ParseURI(text string) (URI, error) {
	rest, ok := strings.CutPrefix(text, "pkcs11:")
	if !ok {
		return URI{}, errors.New("reading a PKCS#11 URI: it lacks the scheme pkcs11")
	}
	path, query, _ := strings.Cut(rest, "?")
	var u URI
	known := map[string]*string{"token": &u.Token, "serial": &u.Serial}
	if err := attributes(path, ";", known); err != nil {
		return URI{}, fmt.Errorf("reading a PKCS#11 URI: %w", err)
	}
	known = map[string]*string{"module-path": &u.ModulePath, "pin-source": &u.PINSource}
	if err := attributes(query, "&", known); err != nil {
		return URI{}, fmt.Errorf("reading a PKCS#11 URI: %w", err)
	}
	u.PINSource = strings.TrimPrefix(strings.TrimPrefix(u.PINSource, "file:"), "//")
	switch {
	case u.Token == "" && u.Serial == "":
		return URI{}, errors.New("reading a PKCS#11 URI: it names no token (token= or serial=)")
	case !filepath.IsAbs(u.ModulePath):
		return URI{}, errors.New("reading a PKCS#11 URI: module-path= must be the absolute path of the library")
	case !filepath.IsAbs(u.PINSource):
		return URI{}, errors.New("reading a PKCS#11 URI: pin-source=file: must be the absolute path of the PIN's file")
	}
	return u, nil
}

// attributes reads name=value pairs, percent-encoded, each name at most once. Values stay out of errors: one
// may be a PIN.
func attributes(text, separator string, known map[string]*string) error {
	if text == "" {
		return nil
	}
	for pair := range strings.SplitSeq(text, separator) {
		name, value, ok := strings.Cut(pair, "=")
		into := known[name]
		switch {
		case name == "pin-value":
			return errors.New("pin-value= holds a secret; use pin-source=file:PATH")
		case !ok || into == nil:
			return fmt.Errorf("attribute %q is not known here", name)
		case *into != "":
			return fmt.Errorf("attribute %q stands twice", name)
		}
		decoded, err := url.PathUnescape(value)
		if err != nil || decoded == "" || strings.ContainsRune(decoded, 0) {
			return fmt.Errorf("attribute %q has no good value", name)
		}
		*into = decoded
	}
	return nil
}
