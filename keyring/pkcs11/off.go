//go:build !pkcs11 || !cgo

package pkcs11

// Open returns ErrNotBuilt: this build has no cgo.
func Open(string) (Keys, error) { return nil, ErrNotBuilt }
